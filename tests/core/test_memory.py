from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from fastdfkd.core.memory import peak_memory_bytes

MEBI = 2**20


def test_the_peak_grows_with_what_is_held_and_stays_after() -> None:
    """In a new process, because this one may have a higher peak already."""
    program = """
import torch
from fastdfkd.core.memory import peak_memory_bytes
before = peak_memory_bytes()
held = torch.ones(300 * 2**20, dtype=torch.uint8)
during = peak_memory_bytes("cpu")
del held
print(before, during, peak_memory_bytes(torch.device("cpu")))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    before, during, after = map(int, done.stdout.split())
    assert 20 * MEBI < before < 8192 * MEBI
    assert during - before > 200 * MEBI
    assert after > during - MEBI  # the kernel counts roughly


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_freed_memory_is_used_again() -> None:
    program = """
import resource, torch
from fastdfkd.core.memory import keep_freed_memory
torch.set_num_threads(1)
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    torch.ones(64 * 2**20, dtype=torch.uint8)
def in_eight_steps():
    for _ in range(16):
        step()
    before = faults()
    for _ in range(8):
        step()
    return faults() - before
returned = in_eight_steps()
keep_freed_memory()
print(returned, in_eight_steps())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    returned, kept = map(int, done.stdout.split())
    assert returned > 8 * 10, "64 MB are 16,384 pages, or 32 huge ones"
    assert kept < 50


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_memory_kept_for_a_while_is_returned() -> None:
    program = """
import psutil, resource, torch
from fastdfkd.core.memory import freed_memory_kept
torch.set_num_threads(1)
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
resident = lambda: psutil.Process().memory_info().rss
def step():
    torch.ones(256 * 2**20, dtype=torch.uint8)
start = resident()
with freed_memory_kept():
    for _ in range(16):  # aligned blocks do not fit their own gap at first
        step()
    before = faults()
    step()
    print(faults() - before, resident() - start)
print(resident() - start)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    faults, during, after = map(int, done.stdout.split())
    assert faults < 50
    assert during > 200 * MEBI
    assert after < 50 * MEBI


@pytest.mark.gpu
def test_on_cuda_tensors_are_counted() -> None:
    torch.cuda.reset_peak_memory_stats()
    before = peak_memory_bytes("cuda")
    held = torch.ones(64 * MEBI, dtype=torch.uint8, device="cuda")
    assert peak_memory_bytes("cuda") >= before + held.numel()
