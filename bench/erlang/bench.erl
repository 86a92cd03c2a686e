%% The benchmarks' peer: each task prints lines `key value`, one for each sample. Its tasks, their sizes and what
%% they measure are those of src/ours.rs.
%%
%%   erl -noshell -s bench main TASK SIZE REPEATS
-module(bench).
-export([main/1, print/2, now_ns/0, latency/2, idle/0]).

main([Task, Size, Repeats]) ->
    logger:set_primary_config(level, none),
    run(Task, number(Size), number(Repeats)),
    halt().

number(Atom) -> list_to_integer(atom_to_list(Atom)).

print(Key, Value) -> io:format("~s ~w~n", [Key, Value]).

now_ns() -> erlang:monotonic_time(nanosecond).

run(round_trip, N, K) ->
    rates(N, K, fun() -> round_trips(1, N) end),
    latency("", in_fresh(fun() -> timed_round_trips(1, N div 4) end));
run(round_trip_1KiB, N, K) ->
    %% A tuple is copied. A binary of this size is shared: a reference is sent.
    Copied = list_to_tuple(lists:seq(1, 127)),
    Shared = binary:copy(<<7>>, 1024),
    rates(N, K, fun() -> round_trips(Copied, N) end),
    [print("shared", rate(N, fun() -> round_trips(Shared, N) end)) || _ <- lists:seq(1, K)],
    latency("", in_fresh(fun() -> timed_round_trips(Copied, N div 4) end));
run(one_way, N, K) -> rates(N, K, fun() -> one_way(1, N, 1000, 1) end);
run(one_way_1KiB, N, K) ->
    Copied = list_to_tuple(lists:seq(1, 127)),
    Shared = binary:copy(<<7>>, 1024),
    rates(N, K, fun() -> one_way(1, N, 1000, Copied) end),
    [print("shared", rate(N, fun() -> one_way(1, N, 1000, Shared) end)) || _ <- lists:seq(1, K)];
run(one_way_unbounded, N, K) -> rates(N, K, fun() -> one_way(1, N, infinity, 1) end);
run(ten_senders, N, K) -> rates(N, K, fun() -> one_way(10, N, 1000, 1) end);
run(ten_senders_unbounded, N, K) -> rates(N, K, fun() -> one_way(10, N, infinity, 1) end);
run(ring, N, K) ->
    [begin
         Hops = N div 1000 * 1000,
         print("value", Hops / in_fresh(fun() -> ring(1000, N div 1000) end) * 1.0e9)
     end || _ <- lists:seq(1, K)];
run(spawn_exit, N, K) -> times(N, K, fun() -> spawn_exit(N) end);
run(spawn_exit_batch, N, K) -> times(N, K, fun() -> spawn_exit_batch(N div 1000, 1000) end);
run(idle, N, _) ->
    erlang:garbage_collect(),
    {Resident, Mappings} = {resident(), mappings()},
    Pids = [spawn(?MODULE, idle, []) || _ <- lists:seq(1, N)],
    timer:sleep(300),
    print("value", (resident() - Resident) / N),
    print("mappings", mappings() - Mappings),
    [Pid ! stop || Pid <- Pids];
run(fib, N, K) -> computed(K, fun() -> kernels:fib(N) end);
run(nbody, N, K) -> computed(K, fun() -> kernels:nbody(N) end);
run(sha256, N, K) ->
    Data = binary:copy(<<"a">>, N),
    computed(K, fun() -> <<Word:32, _/binary>> = kernels:sha256(Data), Word end);
run(save, _, K) -> upgrade:save(K);
run(upgrade_1, N, K) -> upgrade:run(N, K);
run(upgrade_1000, N, K) -> upgrade:run(N, K);
run(upgrade_10000, N, K) -> upgrade:run(N, K);
run(Remote, N, K) -> remote:run(Remote, N, K).

%% ---- how it is measured ----

%% N things in a fresh process, K times: things in a second.
rates(N, K, F) -> [print("value", rate(N, F)) || _ <- lists:seq(1, K)].
rate(N, F) -> N / time(F) * 1.0e9.

%% N things in a fresh process, K times: microseconds for each.
times(N, K, F) -> [print("value", time(F) / N / 1000) || _ <- lists:seq(1, K)].

%% Milliseconds.
computed(K, F) ->
    [begin
         {Nanos, Result} = in_fresh(fun() -> T = now_ns(), R = F(), {now_ns() - T, R} end),
         print("value", Nanos / 1.0e6),
         print("result", Result)
     end || _ <- lists:seq(1, K)].

time(F) -> in_fresh(fun() -> T = now_ns(), F(), now_ns() - T end).

in_fresh(F) ->
    Me = self(), Ref = make_ref(),
    spawn_link(fun() -> Me ! {Ref, F()} end),
    receive {Ref, Result} -> Result end.

%% Quantiles of nanoseconds, in microseconds.
latency(Prefix, Nanos) ->
    Sorted = list_to_tuple(lists:sort(Nanos)),
    Size = tuple_size(Sorted),
    At = fun(Percent) -> element(max(1, (Size * Percent + 99) div 100), Sorted) / 1000 end,
    print(Prefix ++ "p50_us", At(50)),
    print(Prefix ++ "p99_us", At(99)),
    print(Prefix ++ "max_us", At(100)).

%% ---- round trips ----

round_trips(Payload, N) ->
    Echo = spawn_link(fun() -> echo(self()) end),
    round_trip(Echo, Payload, N),
    unlink(Echo), exit(Echo, kill).

round_trip(_, _, 0) -> ok;
round_trip(Echo, Payload, N) ->
    Echo ! {self(), Payload},
    receive {Echo, _} -> round_trip(Echo, Payload, N - 1) end.

timed_round_trips(Payload, N) ->
    Echo = spawn_link(fun() -> echo(self()) end),
    Nanos = timed_round_trip(Echo, Payload, N, []),
    unlink(Echo), exit(Echo, kill),
    Nanos.

timed_round_trip(_, _, 0, Nanos) -> Nanos;
timed_round_trip(Echo, Payload, N, Nanos) ->
    T = now_ns(),
    Echo ! {self(), Payload},
    receive {Echo, _} -> timed_round_trip(Echo, Payload, N - 1, [now_ns() - T | Nanos]) end.

echo(Me) -> receive {From, Payload} -> From ! {Me, Payload}, echo(Me) end.

%% ---- one way ----

%% N messages from S senders to one, never more than Window of each unread.
one_way(S, N, Window, Payload) ->
    Me = self(), Each = N div S,
    Sink = spawn_link(fun() -> sink(Each * S, Me) end),
    [spawn_link(fun() -> source(Sink, Each, Window, Window, Payload) end) || _ <- lists:seq(1, S)],
    receive drained -> ok end.

source(_, 0, _, _, _) -> ok;
source(Sink, N, infinity, infinity, Payload) ->
    Sink ! {item, Payload}, source(Sink, N - 1, infinity, infinity, Payload);
source(Sink, N, 1, Window, Payload) ->
    Sink ! {ack, self()}, receive more -> ok end,
    Sink ! {item, Payload}, source(Sink, N - 1, Window - 1, Window, Payload);
source(Sink, N, Credit, Window, Payload) ->
    Sink ! {item, Payload}, source(Sink, N - 1, Credit - 1, Window, Payload).

sink(0, Parent) -> Parent ! drained;
sink(N, Parent) ->
    receive
        {item, _} -> sink(N - 1, Parent);
        {ack, Source} -> Source ! more, sink(N, Parent)
    end.

%% ---- ring ----

%% The ring is built before the clock starts. Nanoseconds.
ring(Size, Laps) ->
    Me = self(),
    Next = lists:foldl(fun(_, Next) -> spawn_link(fun() -> pass_on(Next) end) end, Me, lists:seq(2, Size)),
    timer:sleep(50),
    T = now_ns(), laps(Next, Laps), Nanos = now_ns() - T,
    Next ! stop, receive stop -> Nanos end.

laps(_, 0) -> ok;
laps(Next, N) -> Next ! {token, 1 bsl 50}, receive {token, _} -> laps(Next, N - 1) end.

pass_on(Next) ->
    receive
        {token, Hops} -> Next ! {token, Hops - 1}, pass_on(Next);
        stop -> Next ! stop
    end.

%% ---- processes ----

spawn_exit(0) -> ok;
spawn_exit(N) ->
    {_, Ref} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Ref, _, _, _} -> spawn_exit(N - 1) end.

spawn_exit_batch(0, _) -> ok;
spawn_exit_batch(N, Batch) ->
    [spawn_monitor(fun() -> ok end) || _ <- lists:seq(1, Batch)],
    [receive {'DOWN', _, _, _, _} -> ok end || _ <- lists:seq(1, Batch)],
    spawn_exit_batch(N - 1, Batch).

idle() -> receive stop -> ok end.

resident() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [KiB]} = re:run(Status, "VmRSS:\\s+(\\d+)", [{capture, all_but_first, list}]),
    list_to_integer(KiB) * 1024.

mappings() ->
    {ok, Maps} = file:read_file("/proc/self/maps"),
    length(binary:split(Maps, <<"\n">>, [global])).
