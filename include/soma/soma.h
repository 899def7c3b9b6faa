/* soma: deep learning in C. This header includes all of them. */
#ifndef SOMA_SOMA_H
#define SOMA_SOMA_H

#include <soma/base.h>
#include <soma/tensor.h>
#include <soma/ops.h>
#include <soma/linalg.h>
#include <soma/loss.h>
#include <soma/autograd.h>
#include <soma/nn.h>
#include <soma/optim.h>
#include <soma/capture.h>
#include <soma/classic.h>
#include <soma/data.h>
#include <soma/io.h>
#include <soma/train.h>
#include <soma/doctor.h>

#endif
