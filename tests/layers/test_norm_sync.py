"""SyncBatchNorm on two processes is BatchNorm on their batches together."""

from __future__ import annotations

import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from visus.layers.norm import BatchNorm2d, SyncBatchNorm


def rank(index: int, port: int, sizes: list[int]) -> None:
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=index, world_size=len(sizes))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(sum(sizes), 3, 4, 5, dtype=torch.float64) * 2 + 30
    g = torch.randn_like(x)
    alone, synced = BatchNorm2d(3, act="relu").double(), SyncBatchNorm(3, act="relu").double()
    whole, part = x.clone().requires_grad_(), x.split(sizes)[index].clone().requires_grad_()
    y = alone(whole)
    y.backward(g)
    mine = synced(part)
    mine.backward(g.split(sizes)[index])
    weight = synced.weight.grad.clone()
    dist.all_reduce(weight)
    torch.testing.assert_close(mine, y.split(sizes)[index])
    torch.testing.assert_close(part.grad, whole.grad.split(sizes)[index])
    torch.testing.assert_close(weight, alone.weight.grad)
    torch.testing.assert_close(synced.running_mean, alone.running_mean)
    torch.testing.assert_close(synced.running_var, alone.running_var)
    dist.destroy_process_group()


def test_two_ranks_with_batches_of_different_sizes():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.spawn(rank, (port, [3, 1]), nprocs=2)


def test_one_rank_is_batch_norm():
    x = torch.randn(3, 4, 2, 2)
    torch.testing.assert_close(SyncBatchNorm(4)(x), BatchNorm2d(4)(x))
