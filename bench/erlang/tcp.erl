%% The module that is patched: whoever calls its first version stays inside, and the next version answers at once.
-module(tcp).
-export([work/0]).

-ifdef(NEXT).
work() -> 2.
-else.
work() -> work_on(7).

work_on(7) -> work_on(7);
work_on(_) -> 1.
-endif.
