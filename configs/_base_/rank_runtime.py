# Registers the losses, heads, hooks and metrics of this package.
custom_imports = dict(imports=['mmdet_rank'], allow_failed_imports=False)
