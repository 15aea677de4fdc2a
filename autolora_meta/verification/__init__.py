"""How right the hypergradients are: every method against what it stands for, on four problems.

A case is a bilevel problem at one point. A reference is what a method's own formula gives there, by
code that shares nothing with the method: dense matrices, or derivatives of one expression.
"""
