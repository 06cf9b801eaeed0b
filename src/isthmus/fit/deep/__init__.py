"""Layer 5: training networks: one loop, many methods. Imports torch; nothing above imports it
before a deep route is taken.

A method is an `isthmus.align.base.Objective` (a loss beside the task's) or an
`isthmus.align.base.Procedure` (steps of its own); `isthmus.fit.deep.loop.train` runs both.
"""
