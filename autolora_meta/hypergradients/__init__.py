"""Hypergradients on lists of tensors: products, solvers, presets, dense references.

With inner loss g(w, a) and outer loss f(w, a), at the inner optimum,

    df/da = f_a - J x,    J = d2g/(da dw),    H x = v,    v = f_w,    H = d2g/dw2.

A method is a solver (how x comes from v) and a way to form the products H p and J x. Nothing here
knows models, LoRA or the library that runs the bilevel program.
"""
