%% Tasks of several nodes. This one is a@127.0.0.1; b and c run already, on the same modules.
-module(remote).
-export([run/3, echo/0, sink/2, member/3, nothing/0, watcher/3, nuisance/1]).
-import(bench, [print/2, now_ns/0, latency/2]).
-define(B, 'beta@127.0.0.1').
-define(C, 'gamma@127.0.0.1').

run(Task, N, K) ->
    reach(?B, 500),
    Plain = lists:flatten(string:replace(atom_to_list(Task), "_tls", "")),
    [task(Plain, N) || _ <- lists:seq(1, K)],
    case lists:member(?B, nodes()) of
        true -> rpc:call(?B, init, stop, []);
        false -> ok
    end.

reach(Node, 0) -> print("unreachable", Node), halt(1);
reach(Node, Tries) ->
    case net_adm:ping(Node) of
        pong -> ok;
        pang -> timer:sleep(20), reach(Node, Tries - 1)
    end.

task("remote_round_trip" ++ _, N) -> round_trips(N);
task("remote_one_way_100B", N) -> print("value", N / one_way(binary:copy(<<7>>, 100), N) * 1.0e9);
task("remote_bulk_64KiB", N) -> print("value", N * 65536 / one_way(binary:copy(<<7>>, 65536), N) * 1.0e3);
task("remote_pairs", N) ->
    Pairs = 100, Me = self(), Each = N div Pairs,
    Echoes = [spawn(?B, ?MODULE, echo, []) || _ <- lists:seq(1, Pairs)],
    [begin Echo ! {Me, 1}, receive {Echo, _} -> ok end end || Echo <- Echoes],
    T = now_ns(),
    [spawn_link(fun() -> trips(Echo, Each), Me ! done end) || Echo <- Echoes],
    [receive done -> ok end || _ <- Echoes],
    print("value", Each * Pairs / (now_ns() - T) * 1.0e9),
    [exit(Echo, kill) || Echo <- Echoes];
task("remote_spawn", N) ->
    spawned(1),
    T = now_ns(), spawned(N),
    print("value", N / (now_ns() - T) * 1.0e9);
task("group_broadcast", N) ->
    Members = 100, Each = N div Members, Me = self(), Group = make_ref(),
    %% They may run since the last time.
    _ = pg:start(pg), _ = rpc:call(?B, pg, start, [pg]),
    Pids = [spawn(?B, ?MODULE, member, [Group, Each, Me]) || _ <- lists:seq(1, Members)],
    [receive joined -> ok end || _ <- Pids],
    known(Group, Members),
    T = now_ns(),
    broadcast(Group, Each),
    [receive heard -> ok end || _ <- Pids],
    print("value", Each * Members / (now_ns() - T) * 1.0e9);
task("monitor_storm", N) ->
    Watchers = 10, Monitors = 10, Me = self(),
    Pids = [spawn(?B, ?MODULE, echo, []) || _ <- lists:seq(1, N div Monitors div Watchers)],
    [spawn_link(?MODULE, watcher, [Pids, Monitors, Me]) || _ <- lists:seq(1, Watchers)],
    [receive set -> ok end || _ <- lists:seq(1, Watchers)],
    T = now_ns(),
    erlang:disconnect_node(?B),
    [receive fired -> ok end || _ <- lists:seq(1, Watchers)],
    print("value", (now_ns() - T) / 1.0e6);
task("remote_stopped_peer", N) ->
    reach(?C, 500),
    Nuisance = spawn(?MODULE, nuisance, [spawn(?C, ?MODULE, echo, [])]),
    print("undisturbed", median(timed(N))),
    Os = rpc:call(?C, os, getpid, []),
    os:cmd("kill -STOP " ++ Os),
    Nanos = timed(N),
    os:cmd("kill -CONT " ++ Os),
    exit(Nuisance, kill),
    print("value", median(Nanos)),
    latency("", Nanos).

%% ---- round trips ----

round_trips(N) ->
    Nanos = timed(N),
    print("value", median(Nanos)),
    latency("", Nanos).

timed(N) ->
    Echo = spawn(?B, ?MODULE, echo, []),
    trips(Echo, 100),
    Nanos = timed(Echo, N, []),
    exit(Echo, kill),
    Nanos.

timed(_, 0, Nanos) -> Nanos;
timed(Echo, N, Nanos) ->
    T = now_ns(),
    Echo ! {self(), N},
    receive {Echo, _} -> timed(Echo, N - 1, [now_ns() - T | Nanos]) end.

trips(_, 0) -> ok;
trips(Echo, N) -> Echo ! {self(), N}, receive {Echo, _} -> trips(Echo, N - 1) end.

echo() -> receive {From, Payload} -> From ! {self(), Payload}, echo() end.

median(Nanos) -> lists:nth((length(Nanos) + 1) div 2, lists:sort(Nanos)) / 1000.

%% ---- the others ----

one_way(Payload, N) ->
    Sink = spawn(?B, ?MODULE, sink, [N, self()]),
    receive ready -> ok end,
    T = now_ns(),
    source(Sink, Payload, N),
    receive drained -> now_ns() - T end.

source(_, _, 0) -> ok;
source(Sink, Payload, N) -> Sink ! {item, Payload}, source(Sink, Payload, N - 1).

sink(N, Parent) -> Parent ! ready, drain(N, Parent).

drain(0, Parent) -> Parent ! drained;
drain(N, Parent) -> receive {item, _} -> drain(N - 1, Parent) end.

spawned(0) -> ok;
spawned(N) ->
    {_, Ref} = spawn_monitor(?B, ?MODULE, nothing, []),
    receive {'DOWN', Ref, _, _, _} -> spawned(N - 1) end.

nothing() -> ok.

member(Group, N, Parent) ->
    ok = pg:join(Group, self()),
    Parent ! joined,
    hear(N, Parent).

hear(0, Parent) -> Parent ! heard;
hear(N, Parent) -> receive {item, _} -> hear(N - 1, Parent) end.

known(Group, Members) ->
    case length(pg:get_members(Group)) of
        Members -> ok;
        _ -> timer:sleep(1), known(Group, Members)
    end.

broadcast(_, 0) -> ok;
broadcast(Group, N) -> [Pid ! {item, N} || Pid <- pg:get_members(Group)], broadcast(Group, N - 1).

%% Says when it watches these, and when all its monitors have fired.
watcher(Pids, Monitors, Parent) ->
    Refs = [monitor(process, Pid) || Pid <- Pids, _ <- lists:seq(1, Monitors)],
    %% Signals to a process keep their order: an answer says that the monitors have arrived.
    [begin Pid ! {self(), 1}, receive {Pid, _} -> ok end end || Pid <- Pids],
    Parent ! set,
    [receive {'DOWN', _, _, _, _} -> ok end || _ <- Refs],
    Parent ! fired.

%% A message each millisecond to a node that may have stopped.
nuisance(Echo) ->
    Echo ! {self(), binary:copy(<<7>>, 1024)},
    receive {Echo, _} -> nuisance(Echo) after 1 -> nuisance(Echo) end.
