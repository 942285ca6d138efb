"""Other people's test cases, in neutral steps, run through the public face.

Start with ``run.py FILE``. In reading order: ``form`` (is the file of this form,
which expectation holds for 2.6.34), ``words`` (how pages, nodes, flags and
pointers are written), ``world`` (the setup), ``steps`` (one function a setup
step), ``invocation`` (the call), ``readers`` (a call raced by readers),
``effects`` (what is checked afterwards), ``prose`` (effects told in words),
``runner`` (all of it, and what is printed).

A case is passed, failed, or skipped with a reason. What cannot be checked is
never passed: a word nobody here understands is a reason to skip.
"""
