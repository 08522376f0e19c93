"""What the command-line tools share: errors, configs, launching, checkpoints, data checks."""
