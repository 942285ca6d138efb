"""Other people's test cases, in neutral steps, run through the public face.

Start with ``run.py FILE``. In reading order: ``form`` (what a case is made of, which
expectation holds for 2.6.34) with ``versions``, ``words`` (how nodes, flags and numbers
are written), ``addressing`` (how pages are), ``world`` (the setup), ``areas`` (what is
mapped), ``threads`` (tasks that share memory), ``steps`` (one function a setup step) with
``credentials`` (tasks) and ``parts`` (steps about parts of regions), ``invocation``
(``move_pages``), ``placement`` (the other calls), ``cpusets``, ``samepage`` and
``segments`` (steps and calls about cpusets, KSM and shared segments), ``readers`` (a
call raced by readers), ``answers`` and ``effects`` (what the call answered, and what else
is checked afterwards), ``prose`` (effects told in words), ``runner`` (all of it, and what
is printed).

A case is passed, failed, skipped with a reason, not about 2.6.34, or excepted: then it
is known why it cannot come out as it says. What cannot be checked is never passed: a word
or a field that nobody here understands is a reason to skip, of that one case.

What is skipped of ``cases.json`` is tested by hand where the model has it: the radix tree
in ``rust/core/tests/radix_tree``, programs above the system calls in ``test_policy_layer``.
How ``numactl`` reads node strings (scope ``cli``) is nothing the model has: it takes nodes as
numbers. ``test_still_mapped`` is about the one setup that is excepted, ``test_adapter``,
``test_odd_cases``, ``test_spellings`` and ``test_expectations`` about all this itself.
"""
