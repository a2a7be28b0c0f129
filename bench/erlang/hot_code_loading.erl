%% Erlang/OTP's hot code loading on the work of `benchInterruption`: processes inside the old version, driven out by `code:purge`, and started
%% again by their callers, who monitor them. Prints the microseconds from the loading of the next version until the last has answered.
-module(hot_code_loading).
-export([main/1]).

main([Count, Folder]) ->
    Old = compiled(Folder, []),
    Next = compiled(Folder, [{d, 'NEXT'}]),
    {module, tcp} = code:load_binary(tcp, "tcp.beam", Old),
    Callers = list_to_integer(Count),
    Main = self(),
    [spawn(fun() -> call(Main, fun() -> Main ! started end) end) || _ <- lists:seq(1, Callers)],
    await(started, Callers),
    Began = erlang:monotonic_time(microsecond),
    {module, tcp} = code:load_binary(tcp, "tcp.beam", Next),
    code:purge(tcp),
    await(answered, Callers),
    io:format("~b~n", [erlang:monotonic_time(microsecond) - Began]),
    halt().

compiled(Folder, Options) ->
    {ok, tcp, Binary} = compile:file(filename:join(Folder, "tcp.erl"), [binary | Options]),
    Binary.

call(Main, Started) ->
    {_, Monitor} = spawn_monitor(fun() -> Started(), exit({answer, tcp:work()}) end),
    receive
        {'DOWN', Monitor, process, _, {answer, 2}} -> Main ! answered;
        {'DOWN', Monitor, process, _, _} -> call(Main, fun() -> again end)
    end.

await(_, 0) -> ok;
await(What, Count) ->
    receive
        What -> await(What, Count - 1)
    end.
