"""Registered ranking losses: options and reduction over `mmdet_rank.ops`."""
