%% The computations of programs/bench/src/kernels.rs in plain Erlang: no native functions.
-module(kernels).
-export([fib/1, nbody/1, sha256/1]).

fib(N) when N < 2 -> N;
fib(N) -> fib(N - 1) + fib(N - 2).

%% ---- the outer solar system, with the constants of the benchmarks game ----

-define(SOLAR_MASS, 39.47841760435743).
-define(DAYS, 365.24).

%% The energy after so many steps. A body is {X, Y, Z, VX, VY, VZ, Mass}.
nbody(Steps) -> energy(advance(Steps, at_rest(bodies()))).

bodies() ->
    [{0.0, 0.0, 0.0, 0.0, 0.0, 0.0, ?SOLAR_MASS},
     body(4.84143144246472090e+00, -1.16032004402742839e+00, -1.03622044471123109e-01,
          1.66007664274403694e-03, 7.69901118419740425e-03, -6.90460016972063023e-05, 9.54791938424326609e-04),
     body(8.34336671824457987e+00, 4.12479856412430479e+00, -4.03523417114321381e-01,
          -2.76742510726411899e-03, 4.99852801234917238e-03, 2.30417297573763929e-05, 2.85885980666130812e-04),
     body(1.28943695621391310e+01, -1.51111514016986312e+01, -2.23307578892655734e-01,
          2.96460137564761618e-03, 2.37847173959480950e-03, -2.96589568540237556e-05, 4.36624404335156298e-05),
     body(1.53796971148509165e+01, -2.59193146099879641e+01, 1.79258772950371181e-01,
          2.68067772490389322e-03, 1.62824170038242295e-03, -9.51592254519715870e-05, 5.15138902046611451e-05)].

body(X, Y, Z, VX, VY, VZ, Mass) -> {X, Y, Z, VX * ?DAYS, VY * ?DAYS, VZ * ?DAYS, Mass * ?SOLAR_MASS}.

at_rest([{X, Y, Z, _, _, _, Mass} | Planets] = Bodies) ->
    Momentum = fun(Axis) -> lists:sum([element(Axis, Body) * element(7, Body) || Body <- Bodies]) end,
    [{X, Y, Z, -Momentum(4) / Mass, -Momentum(5) / Mass, -Momentum(6) / Mass, Mass} | Planets].

advance(0, Bodies) -> Bodies;
advance(Steps, Bodies) -> advance(Steps - 1, step(Bodies)).

step([]) -> [];
step([Body | Others]) ->
    {Pulled, Others1} = attract(Body, Others, []),
    [move(Pulled) | step(Others1)].

move({X, Y, Z, VX, VY, VZ, Mass}) -> {X + 0.01 * VX, Y + 0.01 * VY, Z + 0.01 * VZ, VX, VY, VZ, Mass}.

attract(Body, [], Done) -> {Body, lists:reverse(Done)};
attract({X, Y, Z, VX, VY, VZ, Mass}, [{X2, Y2, Z2, VX2, VY2, VZ2, Mass2} | Others], Done) ->
    DX = X - X2, DY = Y - Y2, DZ = Z - Z2,
    Square = DX * DX + DY * DY + DZ * DZ,
    Magnitude = 0.01 / (Square * math:sqrt(Square)),
    A = Mass2 * Magnitude, B = Mass * Magnitude,
    attract({X, Y, Z, VX - DX * A, VY - DY * A, VZ - DZ * A, Mass}, Others,
            [{X2, Y2, Z2, VX2 + DX * B, VY2 + DY * B, VZ2 + DZ * B, Mass2} | Done]).

energy([]) -> 0.0;
energy([{X, Y, Z, VX, VY, VZ, Mass} | Others]) ->
    Pairs = [Mass * Mass2 / math:sqrt((X - X2) * (X - X2) + (Y - Y2) * (Y - Y2) + (Z - Z2) * (Z - Z2))
             || {X2, Y2, Z2, _, _, _, Mass2} <- Others],
    0.5 * Mass * (VX * VX + VY * VY + VZ * VZ) - lists:sum(Pairs) + energy(Others).

%% ---- SHA-256, straight from the standard ----

-define(WORD, 16#ffffffff).

sha256(Data) ->
    Zeros = (448 - (bit_size(Data) + 1) rem 512 + 512) rem 512,
    Padded = <<Data/binary, 1:1, 0:Zeros, (bit_size(Data)):64>>,
    Start = {16#6a09e667, 16#bb67ae85, 16#3c6ef372, 16#a54ff53a, 16#510e527f, 16#9b05688c, 16#1f83d9ab, 16#5be0cd19},
    << <<Word:32>> || Word <- tuple_to_list(blocks(Padded, Start, rounds())) >>.

blocks(<<>>, State, _) -> State;
blocks(<<Block:64/binary, Rest/binary>>, {A, B, C, D, E, F, G, H}, Rounds) ->
    {A1, B1, C1, D1, E1, F1, G1, H1} = compress(schedule(Block), Rounds, A, B, C, D, E, F, G, H),
    blocks(Rest,
           {(A + A1) band ?WORD, (B + B1) band ?WORD, (C + C1) band ?WORD, (D + D1) band ?WORD,
            (E + E1) band ?WORD, (F + F1) band ?WORD, (G + G1) band ?WORD, (H + H1) band ?WORD},
           Rounds).

schedule(Block) ->
    [W0, W1, W2, W3, W4, W5, W6, W7, W8, W9, Wa, Wb, Wc, Wd, We, Wf] = [Word || <<Word:32>> <= Block],
    extend(48, W0, W1, W2, W3, W4, W5, W6, W7, W8, W9, Wa, Wb, Wc, Wd, We, Wf).

extend(0, W0, W1, W2, W3, W4, W5, W6, W7, W8, W9, Wa, Wb, Wc, Wd, We, Wf) ->
    [W0, W1, W2, W3, W4, W5, W6, W7, W8, W9, Wa, Wb, Wc, Wd, We, Wf];
extend(N, W0, W1, W2, W3, W4, W5, W6, W7, W8, W9, Wa, Wb, Wc, Wd, We, Wf) ->
    S0 = right(W1, 7) bxor right(W1, 18) bxor (W1 bsr 3),
    S1 = right(We, 17) bxor right(We, 19) bxor (We bsr 10),
    Next = (W0 + S0 + W9 + S1) band ?WORD,
    [W0 | extend(N - 1, W1, W2, W3, W4, W5, W6, W7, W8, W9, Wa, Wb, Wc, Wd, We, Wf, Next)].

right(Word, By) -> ((Word bsr By) bor (Word bsl (32 - By))) band ?WORD.

compress([], [], A, B, C, D, E, F, G, H) -> {A, B, C, D, E, F, G, H};
compress([Word | Words], [Round | Rounds], A, B, C, D, E, F, G, H) ->
    S1 = right(E, 6) bxor right(E, 11) bxor right(E, 25),
    T1 = H + S1 + ((E band F) bxor ((E bxor ?WORD) band G)) + Round + Word,
    S0 = right(A, 2) bxor right(A, 13) bxor right(A, 22),
    T2 = S0 + ((A band B) bxor (A band C) bxor (B band C)),
    compress(Words, Rounds, (T1 + T2) band ?WORD, A, B, C, (D + T1) band ?WORD, E, F, G).

rounds() ->
    [16#428a2f98, 16#71374491, 16#b5c0fbcf, 16#e9b5dba5, 16#3956c25b, 16#59f111f1, 16#923f82a4, 16#ab1c5ed5,
     16#d807aa98, 16#12835b01, 16#243185be, 16#550c7dc3, 16#72be5d74, 16#80deb1fe, 16#9bdc06a7, 16#c19bf174,
     16#e49b69c1, 16#efbe4786, 16#0fc19dc6, 16#240ca1cc, 16#2de92c6f, 16#4a7484aa, 16#5cb0a9dc, 16#76f988da,
     16#983e5152, 16#a831c66d, 16#b00327c8, 16#bf597fc7, 16#c6e00bf3, 16#d5a79147, 16#06ca6351, 16#14292967,
     16#27b70a85, 16#2e1b2138, 16#4d2c6dfc, 16#53380d13, 16#650a7354, 16#766a0abb, 16#81c2c92e, 16#92722c85,
     16#a2bfe8a1, 16#a81a664b, 16#c24b8b70, 16#c76c51a3, 16#d192e819, 16#d6990624, 16#f40e3585, 16#106aa070,
     16#19a4c116, 16#1e376c08, 16#2748774c, 16#34b0bcb5, 16#391c0cb3, 16#4ed8aa4a, 16#5b9cca4f, 16#682e6ff3,
     16#748f82ee, 16#78a5636f, 16#84c87814, 16#8cc70208, 16#90befffa, 16#a4506ceb, 16#bef9a3f7, 16#c67178f2].
