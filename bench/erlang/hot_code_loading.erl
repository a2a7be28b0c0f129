%% Erlang/OTP's hot code loading with the workload of `benchInterruption`: `code:purge` kills the processes inside the old version, and their
%% callers, which monitor them, start them again. Prints the microseconds from loading the next version until the last call has returned.
-module(hot_code_loading).
-export([main/1]).

main([Count, Folder]) ->
    Old = compile_version(Folder, []),
    Next = compile_version(Folder, [{d, 'NEXT'}]),
    {module, tcp} = code:load_binary(tcp, "tcp.beam", Old),
    Callers = list_to_integer(Count),
    Main = self(),
    [spawn(fun() -> call(Main, fun() -> Main ! started end) end) || _ <- lists:seq(1, Callers)],
    await(started, Callers),
    StartedAt = erlang:monotonic_time(microsecond),
    {module, tcp} = code:load_binary(tcp, "tcp.beam", Next),
    code:purge(tcp),
    await(returned, Callers),
    io:format("~b~n", [erlang:monotonic_time(microsecond) - StartedAt]),
    halt().

compile_version(Folder, Options) ->
    {ok, tcp, Binary} = compile:file(filename:join(Folder, "tcp.erl"), [binary | Options]),
    Binary.

call(Main, Started) ->
    {_, Monitor} = spawn_monitor(fun() -> Started(), exit({result, tcp:work()}) end),
    receive
        {'DOWN', Monitor, process, _, {result, 2}} -> Main ! returned;
        {'DOWN', Monitor, process, _, _} -> call(Main, fun() -> again end)
    end.

await(_, 0) -> ok;
await(What, Count) ->
    receive
        What -> await(What, Count - 1)
    end.
