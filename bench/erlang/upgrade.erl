%% Changing the code of gen_servers under load, and of a counter that was just saved.
%%
%% Two ways. `each`: the new code is loaded, then one server after the other is suspended, changed and resumed; its
%% callbacks take the old state as well, because a server that has not been changed yet runs them (without that it
%% crashes). `suspended`: all are suspended, the code is loaded, all are changed, all are resumed, as release_handler
%% does.
-module(upgrade).
-export([run/2, save/1]).
-import(bench, [print/2, now_ns/0]).

%% N servers, K times in each way.
run(N, K) ->
    {V1, V2} = {build("served", served(1)), build("served", served(2))},
    [begin
         round(each, "", N, V1, V2),
         round(suspended, "suspended_", N, V1, V2)
     end || _ <- lists:seq(1, K)].

round(Way, Prefix, N, V1, V2) ->
    load(served, V1),
    Servers = [begin {ok, Pid} = gen_server:start(served, [], []), Pid end || _ <- lists:seq(1, N)],
    Me = self(), Tuple = list_to_tuple(Servers),
    Caller = spawn_link(fun() -> caller(hd(Servers), Me, now_ns(), []) end),
    Caster = spawn_link(fun() -> caster(Tuple, Me, 0) end),
    timer:sleep(20),
    Caller ! forget,
    T = now_ns(),
    change(Way, Servers, V2),
    Nanos = now_ns() - T,
    Caller ! stop, Gaps = receive {gaps, G} -> G end,
    Caster ! stop, Sent = receive {sent, S} -> S end,
    Counted = lists:sum([gen_server:call(Pid, count, infinity) || Pid <- Servers]),
    2 = gen_server:call(hd(Servers), version),
    [exit(Pid, kill) || Pid <- Servers],
    print(Prefix ++ "value", Nanos / 1.0e6),
    print(Prefix ++ "longest_pause", lists:max(Gaps) / 1.0e6),
    bench:latency(Prefix, Gaps),
    print(Prefix ++ "lost", Sent - Counted).

change(each, Servers, V2) ->
    {module, served} = code:load_binary(served, "served", V2),
    [begin
         ok = sys:suspend(Pid, infinity),
         ok = sys:change_code(Pid, served, 1, [], infinity),
         ok = sys:resume(Pid, infinity)
     end || Pid <- Servers];
change(suspended, Servers, V2) ->
    [ok = sys:suspend(Pid, infinity) || Pid <- Servers],
    {module, served} = code:load_binary(served, "served", V2),
    [ok = sys:change_code(Pid, served, 1, [], infinity) || Pid <- Servers],
    [ok = sys:resume(Pid, infinity) || Pid <- lists:reverse(Servers)].

%% Calls one server in a tight loop; the gaps between answers.
caller(Server, Parent, Last, Gaps) ->
    gen_server:call(Server, version, infinity),
    Now = now_ns(),
    receive
        forget -> caller(Server, Parent, now_ns(), []);
        stop -> Parent ! {gaps, [Now - Last | Gaps]}
    after 0 -> caller(Server, Parent, Now, [Now - Last | Gaps])
    end.

%% Casts to all servers in turn, 64 in a millisecond.
caster(Servers, Parent, N) ->
    gen_server:cast(element(1 + N rem tuple_size(Servers), Servers), count),
    receive stop -> Parent ! {sent, N + 1}
    after (if N rem 64 =:= 63 -> 1; true -> 0 end) -> caster(Servers, Parent, N + 1)
    end.

served(1) ->
    "-module(served). -behaviour(gen_server).\n"
    "-export([init/1, handle_call/3, handle_cast/2, code_change/3]).\n"
    "init(_) -> {ok, 0}.\n"
    "handle_call(version, _, N) -> {reply, 1, N};\n"
    "handle_call(count, _, N) -> {reply, N, N}.\n"
    "handle_cast(count, N) -> {noreply, N + 1}.\n"
    "code_change(_, N, _) -> {ok, N}.\n";
served(2) ->
    "-module(served). -behaviour(gen_server).\n"
    "-export([init/1, handle_call/3, handle_cast/2, code_change/3]).\n"
    "init(_) -> {ok, {state, 0, 0}}.\n"
    "handle_call(version, _, S) -> {reply, 2, S};\n"
    "handle_call(count, _, {state, N, _} = S) -> {reply, N, S}.\n"
    "handle_cast(count, {state, N, Since}) -> {noreply, {state, N + 1, Since + 1}};\n"
    "handle_cast(count, N) when is_integer(N) -> {noreply, N + 1}.\n"
    "code_change(_, N, _) -> {ok, {state, N, 0}}.\n".

%% ---- from saving a file to the first new answer ----

save(K) ->
    load(saved, build("saved", saved(1))),
    Pid = spawn(saved, start, [0]),
    1 = ask(Pid),
    [begin
         T = now_ns(),
         load(saved, build("saved", saved(N))),
         Pid ! update,
         N = ask(Pid),
         print("value", (now_ns() - T) / 1.0e6)
     end || N <- lists:seq(2, K + 1)].

ask(Pid) -> Pid ! {answer, self()}, receive {answer, N} -> N end.

saved(N) ->
    "-module(saved). -export([start/1]).\n"
    "start(Count) ->\n"
    "    receive\n"
    "        {answer, Pid} -> Pid ! {answer, " ++ integer_to_list(N) ++ "}, start(Count + 1);\n"
    "        update -> ?MODULE:start(Count)\n"
    "    end.\n".

%% ---- code ----

%% Writes a module's source into the working directory and compiles it.
build(Name, Source) ->
    ok = file:write_file(Name ++ ".erl", Source),
    {ok, _, Binary} = compile:file(Name, [binary]),
    Binary.

%% Makes a version the only one.
load(Module, Binary) ->
    code:purge(Module),
    {module, Module} = code:load_binary(Module, atom_to_list(Module), Binary).
