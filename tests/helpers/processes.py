"""Run a function in several gloo processes and collect what each returns."""

import mmdet_rank.register  # noqa: F401  before mmdet, which may lack operators without it

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def spawn(function, args, count):
    """Run ``function(rank, *args)`` in ``count`` processes, and fail where one fails.

    A new process imports what it finds in the arguments, in their order: by ``_call``, this
    module and mmdet_rank before the function's module, which may well import mmdet first.
    conftest.py has seen to that in the first process alone.
    """
    mp.spawn(_call, (function, args), nprocs=count)


def _call(rank, function, args):
    function(rank, *args)


def run_processes(function, world_sizes, folder):
    """Results of ``function(rank, world_size)``, in order of rank, by world size.

    The same processes form one group after the other: starting one takes seconds.

    Args:
        function: At module level, so that a new process can import it.
        world_sizes: How many processes together; one run each.
        folder: Empty folder of this run's own; processes meet and leave results there.
    """
    spawn(_work, (function, world_sizes, str(folder)), max(world_sizes))
    return {
        size: [torch.load(folder / f"{rank}_of_{size}.pt") for rank in range(size)]
        for size in world_sizes
    }


def _work(rank, function, world_sizes, folder):
    torch.set_num_threads(1)
    for size in world_sizes:
        if rank >= size:
            continue
        meeting = f"file://{folder}/meeting_{size}"
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size)
        try:
            torch.save(function(rank, size), f"{folder}/{rank}_of_{size}.pt")
            dist.barrier()
        finally:
            dist.destroy_process_group()
