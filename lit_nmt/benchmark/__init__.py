"""The measuring protocol: how fast models train and translate, what they take of memory and of the machine.

All models are measured in one process, in alternation, on batches that are the same for all: first each is
warmed up, then each is timed for a window of many steps, then all again, until every model has its windows. A
figure is the median over windows, its spread the slowest and the fastest window. Tokens are target tokens,
EOS counted, padding not. Peak memory is that of a process which does nothing but the one phase of the one
model. Utilisation relates the model's own operations to the fastest matrix product that the device managed in
the same minutes.

A `Subject` describes a model, a `Rig` builds it, a `Workload` is what it does with batches, a `Trial` is what that
took; `Unfinished` keeps what has been measured until all of it is.
"""
