"""Accuracy of the hypergradients: every method against its own formula, on four problems.

A case is a bilevel problem at one point. A reference is what a method's formula gives there, by
code that shares nothing with the method: dense matrices, or derivatives of one expression.
"""
