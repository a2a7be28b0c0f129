%% The patched module: calls of its first version never return, and calls of the next version return immediately.
-module(tcp).
-export([work/0]).

-ifdef(NEXT).
work() -> 2.
-else.
work() -> work_on(7).

work_on(7) -> work_on(7);
work_on(_) -> 1.
-endif.
