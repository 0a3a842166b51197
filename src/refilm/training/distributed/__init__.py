"""Distributed training: process group, DDP and FSDP2, consensus and heartbeats."""
