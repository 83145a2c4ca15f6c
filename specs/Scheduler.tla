------------------------------ MODULE Scheduler ------------------------------
(***************************************************************************)
(* The scheduler: peers that do as they please, a kernel with bounded      *)
(* buffers, a listener, and the round.                                     *)
(*                                                                         *)
(* A behaviour is a sequence of operations of the world (a peer sends, the *)
(* application closes, descriptors run out) and of rounds.  A round is one *)
(* step, as it is one call in the code, and it is written as a function of *)
(* the whole state in the code's own order: settle what the application    *)
(* asked for between two rounds; wait; serve what is reported, for each    *)
(* connection writable before readable; run what is due; accept; perform   *)
(* the closes.  What may happen to a connection, what it is watched for,   *)
(* which deadline runs, comes from Table, which is generated from the      *)
(* code.                                                                   *)
(*                                                                         *)
(* The application is an echo: each chunk that it is given is written      *)
(* back.  Bytes are counted, not told apart: in units, of which a chunk    *)
(* has ChunkUnits, so that the kernel can take a part of a chunk.          *)
(*                                                                         *)
(* Time is counted in ticks.  A tick and the round that it wakes are one   *)
(* step, TimePasses: whatever else happens between the two might as well   *)
(* have happened before the tick, so nothing is lost, and between two      *)
(* steps nothing is ever overdue.                                          *)
(*                                                                         *)
(* ABSTRACTION.md says what each variable is in the code.                  *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets, Table

CONSTANTS
    Peers,            \* 1..n.  A peer has at most one connection at a time, and connects again and again.
    PeerDoes,         \* [Peers -> SUBSET {"connect", "send", "read", "fin", "reset", "close"}]
    ApplicationDoes,  \* [Peers -> SUBSET {"pause", "resume", "close", "abort", "write_eof"}]
    WorldDoes,        \* SUBSET {"time", "descriptors", "stop"}
    PromptReaders,    \* Of these peers each reads all that is there before time passes.
    Eager,            \* Whether a reply is offered to the kernel at once, or waits for the writable set.
    HalfOpen,         \* Whether the application keeps a connection open after the peer's FIN.
    Refuses,          \* Whether a full listener accepts and closes newcomers, or lets them wait.
    MostConnections, AcceptsPerRound,
    ChunkUnits,       \* What a peer sends, and what the server receives, at once.
    ReadUnits,        \* What a peer reads at once, at most.
    ReceiveRoom,      \* Chunks that the kernel keeps for the server.
    SendRoom,         \* Units that the kernel keeps for the peer, in our buffer and the peer's,
    PeerRoom,         \* of which so many in the peer's.
    HighUnits, LowUnits, CapUnits,
    LingerChunks,     \* What is read and thrown away after our FIN, at most.
    Ticks,            \* [Limits \ {Forever} -> 1..]: each deadline's length.
    BackoffTicks, QuietTicks, DrainTicks,
    MostChunks        \* 0: bytes are not counted over a connection's life.  Else a peer sends so many chunks at most.

VARIABLES
    conn,     \* Each peer's connection: what the kernel holds of it and what the machine does.
    registry, \* The scheduler's and the kernel's tables, by descriptor; and whose deadline is armed.
    listener, \* Its state, the backlog, its timers; and whether the system is short of descriptors.
    server    \* Serving, asked to stop, draining, stopped; and the ticks left to a drain.

vars == <<conn, registry, listener, server>>

Descriptors == Peers
Nobody == 0
Nowhere == -1  \* The poller does not know the descriptor.
Muted == 4     \* It is registered, and its reports are stopped until its interest changes.
NoFault == ""

Minimum(a, b) == IF a < b THEN a ELSE b

-----------------------------------------------------------------------------
(* One connection. The first line is the kernel's: chunks received and not read, units sent and not read by the peer, the  *)
(* peer's FIN, its reset, whether its socket is closed, and whether we have sent our FIN. The second is the machine's.      *)
(* Then what is counted only where MostChunks is not 0, and `fault`: what should never have happened, and did.              *)

NothingCounted == [sent |-> 0, written |-> 0, taken |-> 0, read |-> 0]

Away ==
    [place |-> "away", recvq |-> 0, sendq |-> 0, fin |-> FALSE, rst |-> FALSE, gone |-> FALSE, shut |-> FALSE,
     state |-> "closed", holds |-> NoHold, outbox |-> 0, sealed |-> FALSE, age |-> 0, lingered |-> 0, fd |-> Nobody,
     count |-> NothingCounted, fault |-> NoFault]

Counted(count, what, units) == IF MostChunks = 0 THEN count ELSE [count EXCEPT ![what] = @ + units]

Blame(c, fault) == IF c.fault = NoFault THEN [c EXCEPT !.fault = fault] ELSE c

IsServed(c) == c.place = "served"
IsOpen(c) == c.place = "served" /\ c.state # "closed"
HasHold(c, hold) == Held(c.holds, hold)
IsClosing(c) == c.state = "closed" \/ HasHold(c, "finishing")
WantsRead(c) == Reads(c.state, c.holds)
WantsWrite(c) == Writes(c.state, c.holds)
Wanted(c) == (IF WantsRead(c) THEN 1 ELSE 0) + (IF WantsWrite(c) THEN 2 ELSE 0)
LimitOf(c) == Deadline(c.state, c.holds)
IsDue(c) == c.age >= Ticks[LimitOf(c)]

(* A closed connection holds nothing. *)
Emptied(c) == [c EXCEPT !.state = "closed", !.outbox = 0, !.holds = NoHold, !.sealed = FALSE, !.age = 0, !.lingered = 0]

Fire(c, event) ==
    IF ~Legal(c.state, event) THEN Blame(c, "an illegal event")
    ELSE IF NextState[c.state][event] # "closed" THEN [c EXCEPT !.state = NextState[c.state][event]]
    ELSE IF event # "finish" THEN Emptied(c)
    ELSE IF c.outbox > 0 THEN Blame(Emptied(c), "a graceful close lost bytes")
    ELSE IF c.recvq > 0 THEN Blame(Emptied(c), "a graceful close became a reset")
    ELSE Emptied(c)

(* A deadline runs anew when another limit begins to apply. *)
ChangeHolds(c, holds) ==
    [c EXCEPT !.holds = holds, !.age = IF Deadline(c.state, holds) = LimitOf(c) THEN @ ELSE 0]
Hold(c, hold) == ChangeHolds(c, With(c.holds, hold))
Release(c, hold) == ChangeHolds(c, Without(c.holds, hold))

FinishIfNothingIsOwed(c) == IF OwesNothing(c.state, c.holds) THEN Fire(c, "finish") ELSE c

GracefulClose(c) ==
    IF IsClosing(c) THEN c
    ELSE FinishIfNothingIsOwed(Hold([c EXCEPT !.sealed = TRUE], "finishing"))

WriteEof(c) ==
    LET sealed == [c EXCEPT !.sealed = TRUE]
    IN IF HasHold(c, "eof") /\ c.outbox = 0 THEN GracefulClose(sealed) ELSE sealed

-----------------------------------------------------------------------------
(* Sending. *)

Enqueue(c) ==
    LET size == c.outbox + ChunkUnits
        fired == Fire(c, "enqueue")
    IN IF size > CapUnits THEN Fire(c, "abort")
       ELSE [fired EXCEPT !.outbox = size,
                          !.age = IF c.outbox = 0 THEN 0 ELSE @,
                          !.holds = IF size > HighUnits THEN With(@, "backpressure") ELSE @,
                          !.count = Counted(@, "written", ChunkUnits)]

AfterLastByte(c) == FinishIfNothingIsOwed(IF HasHold(c, "eof") THEN GracefulClose(c) ELSE c)

Drained(c) == IF c.sealed THEN AfterLastByte(Fire(c, "drain")) ELSE Fire(c, "drain")

Eased(c) == IF HasHold(c, "backpressure") /\ c.outbox <= LowUnits THEN Without(c.holds, "backpressure") ELSE c.holds

Took(c, units) ==
    LET left == [c EXCEPT !.outbox = @ - units,
                          !.age = IF units > 0 THEN 0 ELSE @,
                          !.count = Counted(@, "taken", units)]
        eased == [left EXCEPT !.holds = Eased(left)]
    IN IF eased.outbox = 0 THEN Drained(eased) ELSE eased

(* The kernel takes what it has room for. What it sends to a peer that has closed its socket is answered by a reset. *)
RoomFor(c) == SendRoom - c.sendq

KernelTakes(c, units) == IF c.gone THEN [c EXCEPT !.gone = FALSE, !.rst = TRUE] ELSE [c EXCEPT !.sendq = @ + units]

Offer(c) ==
    LET flushed == Fire(c, "flush")
        units == Minimum(c.outbox, RoomFor(c))
    IN IF c.rst THEN Fire(flushed, "reset") ELSE Took(KernelTakes(flushed, units), units)

-----------------------------------------------------------------------------
(* Receiving. *)

Lingered(c) == IF c.lingered = LingerChunks THEN Fire(c, "abort") ELSE [c EXCEPT !.lingered = @ + 1]

Renewed(c, moved) == IF Renews(c.state, c.holds, moved) THEN [c EXCEPT !.age = 0] ELSE c

Deliver(c) == IF c.sealed THEN c ELSE Enqueue(c)

ReceiveChunk(c) ==
    LET received == Renewed(Fire([c EXCEPT !.recvq = @ - 1], "receive"), "received")
    IN IF HasHold(c, "finishing") THEN Lingered(received) ELSE Deliver(received)

EndOfStream(c) ==
    LET ended == Hold(Fire(c, "eof"), "eof")
        sealed == IF ended.sealed /\ ended.outbox = 0 THEN GracefulClose(ended) ELSE ended
        over == FinishIfNothingIsOwed(sealed)
    IN IF IsClosing(c) \/ HalfOpen THEN over ELSE GracefulClose(over)

(* One recv: what came before a FIN or a reset comes first, and a FIN before a reset. *)
Receive(c) ==
    IF c.recvq > 0 THEN ReceiveChunk(c)
    ELSE IF c.fin THEN EndOfStream(c)
    ELSE IF c.rst THEN Fire(c, "reset")
    ELSE c

-----------------------------------------------------------------------------
(* The world as a record, so that a round is a function of it; `closing` is what a round has retired and not yet buried. *)

World == [conn |-> conn, registry |-> registry, listener |-> listener, server |-> server, closing |-> {}]

Become(w) == conn' = w.conn /\ registry' = w.registry /\ listener' = w.listener /\ server' = w.server

Room(w) == MostConnections - Cardinality({fd \in Descriptors : w.registry.links[fd] # Nobody})

Put(w, p, c) == [w EXCEPT !.conn[p] = c]

Forget(registry_, p, fd) ==
    [registry_ EXCEPT !.watched[fd] = Nowhere, !.links[fd] = Nobody, !.armed = @ \ {p}]

Retire(w, p) ==
    LET fd == w.conn[p].fd
    IN [w EXCEPT !.registry = Forget(@, p, fd), !.closing = @ \cup {p},
                 !.conn[p] = IF p \in w.closing THEN Blame(@, "retired twice") ELSE @]

Registered(w, p) == IF w.registry.watched[w.conn[p].fd] = Muted THEN 0 ELSE w.registry.watched[w.conn[p].fd]

WantsFin(c) == c.sealed /\ c.state = "reading" /\ ~c.shut

Watch(watched, fd, interest) == [watched EXCEPT ![fd] = interest]

Adapt(w, p) ==
    LET c == w.conn[p]
        changed == Registered(w, p) # Wanted(c)
    IN [w EXCEPT !.conn[p].shut = @ \/ WantsFin(c),
                 !.registry.watched = IF changed THEN Watch(@, c.fd, Wanted(c)) ELSE @,
                 !.registry.armed = @ \cup {p}]

Follow(w, p) ==
    LET c == w.conn[p]
    IN IF c.state = "closed" THEN IF w.registry.watched[c.fd] = Nowhere THEN w ELSE Retire(w, p)
       ELSE IF c.sealed \/ Registered(w, p) # Wanted(c) THEN Adapt(w, p)
       ELSE w

Settle(w, p) == Follow(IF w.conn[p].state = "queued" /\ Eager THEN Put(w, p, Offer(w.conn[p])) ELSE w, p)

RECURSIVE SettleFrom(_, _)
SettleFrom(w, p) ==
    IF p \notin Peers THEN w ELSE SettleFrom(IF IsServed(w.conn[p]) THEN Settle(w, p) ELSE w, p + 1)

-----------------------------------------------------------------------------
(* Waiting: what the poller reports of a descriptor, as poll(2) and epoll(7) do. *)

HasInput(c) == c.recvq > 0 \/ c.fin \/ c.rst
HasSpace(c) == c.sendq < SendRoom \/ c.shut \/ c.rst
HasHungUp(c) == c.rst \/ (c.fin /\ c.shut)

NoReport == [whose |-> Nobody, in |-> FALSE, out |-> FALSE, hup |-> FALSE, err |-> FALSE]

(* Each report names its connection too, which the code does not know: if another has the number by now, that is a fault. *)
ReportOf(p, c, watched) ==
    [whose |-> p,
     in |-> watched % 2 = 1 /\ HasInput(c), out |-> watched >= 2 /\ HasSpace(c), hup |-> HasHungUp(c), err |-> c.rst]

Report(w, fd) ==
    IF w.registry.watched[fd] \in {Nowhere, Muted} THEN NoReport
    ELSE ReportOf(w.registry.open[fd], w.conn[w.registry.open[fd]], w.registry.watched[fd])

IsReport(report) == report.in \/ report.out \/ report.hup

Reports(w) == [fd \in Descriptors |-> Report(w, fd)]

IsHeard(w) == ListenerReads(w.listener.state, Refuses) /\ w.listener.backlog # << >>

-----------------------------------------------------------------------------
(* Serving. *)

Readable(w, p) == IF Registered(w, p) \in {1, 3} THEN Put(w, p, Receive(w.conn[p])) ELSE w

BadNews(w, p, report) ==
    IF report.err THEN Put(w, p, Fire(w.conn[p], "reset")) ELSE [w EXCEPT !.registry.watched[w.conn[p].fd] = Muted]

Writable(w, p) == Follow(Put(w, p, Offer(w.conn[p])), p)

Ready(w, p, report) ==
    LET offered == IF report.out /\ WantsWrite(w.conn[p]) THEN Writable(w, p) ELSE w
        after == offered.conn[p]
    IN IF ~report.in /\ ~report.hup THEN offered
       ELSE IF WantsRead(after) THEN Readable(offered, p)
       ELSE IF Wanted(after) = 0 /\ after.state # "closed" THEN BadNews(offered, p, report)
       ELSE offered

IsPlainlyReadable(report) == report.in /\ ~report.out /\ ~report.hup

ServeOne(w, fd, report) ==
    LET p == w.registry.links[fd]
        found == IF p = report.whose THEN w ELSE Put(w, p, Blame(w.conn[p], "a stale report was delivered"))
    IN IF p = Nobody THEN w
       ELSE IF IsPlainlyReadable(report) THEN Settle(Readable(found, p), p)
       ELSE Settle(Ready(found, p, report), p)

RECURSIVE ServeFrom(_, _, _)
ServeFrom(w, reports, fd) ==
    IF fd \notin Descriptors THEN w
    ELSE ServeFrom(IF IsReport(reports[fd]) THEN ServeOne(w, fd, reports[fd]) ELSE w, reports, fd + 1)

-----------------------------------------------------------------------------
(* Accepting. *)

FireListener(w, event) == [w EXCEPT !.listener.state = ListenerNextState[@][event]]
Can(w, event) == ListenerLegal(w.listener.state, event)

Relieve(w) == IF Room(w) > 0 /\ Can(w, "relieve") THEN FireListener(w, "relieve") ELSE w

Exhaust(w) ==
    LET exhausted == FireListener(w, "exhaust") IN [exhausted EXCEPT !.listener.backoff = @ \cup {BackoffTicks}]

FreeDescriptor(w) ==
    CHOOSE fd \in Descriptors :
        w.registry.open[fd] = Nobody /\ \A lower \in 1..(fd - 1) : w.registry.open[lower] # Nobody

Opened(c, fd) == [c EXCEPT !.place = "served", !.state = NextState[Initial]["open"], !.fd = fd]

Admit(w, p) ==
    LET fd == FreeDescriptor(w)
        c == Opened(w.conn[p], fd)
    IN [w EXCEPT !.conn[p] = c,
                 !.registry.open[fd] = p, !.registry.links[fd] = p, !.registry.watched[fd] = Wanted(c),
                 !.registry.armed = @ \cup {p}]

Welcome(w, p) == IF Room(w) > 0 THEN Admit(w, p) ELSE Put(w, p, Away)

TakeFirst(w) ==
    LET taken == [w EXCEPT !.listener.backlog = Tail(@)] IN Welcome(taken, Head(w.listener.backlog))

LookForRoom(w) == IF Room(w) = 0 /\ Can(w, "fill") THEN FireListener(w, "fill") ELSE w

RECURSIVE Accept(_, _)
Accept(w, most) ==
    LET looked == LookForRoom(w)
    IN IF most = 0 THEN w
       ELSE IF ~ListenerReads(looked.listener.state, Refuses) THEN looked
       ELSE IF looked.listener.short THEN Exhaust(looked)
       ELSE IF looked.listener.backlog = << >> THEN looked
       ELSE Accept(TakeFirst(looked), most - 1)

-----------------------------------------------------------------------------
(* What is due: deadlines, then timers in their order, then what was asked for from outside. *)

ExpireBlame(c) ==
    IF c.state \in Sending /\ (c.sendq < SendRoom \/ c.rst) THEN "given up as stalled while the kernel had room"
    ELSE IF LimitOf(c) = "idle_s" /\ WantsRead(c) /\ HasInput(c) THEN "given up as silent while input was waiting"
    ELSE NoFault

Expire(w, p) == Follow(Put(w, p, Fire(Blame(w.conn[p], ExpireBlame(w.conn[p])), "expire")), p)

RECURSIVE ExpireFrom(_, _)
ExpireFrom(w, p) ==
    IF p \notin Peers THEN w
    ELSE ExpireFrom(IF p \in w.registry.armed /\ IsDue(w.conn[p]) THEN Expire(w, p) ELSE w, p + 1)

EndBackoff(w) ==
    IF 0 \in w.listener.backoff THEN Relieve([w EXCEPT !.listener.backoff = @ \ {0}]) ELSE w

IsQuiet(c) == IsOpen(c) /\ c.outbox = 0 /\ ~IsClosing(c) /\ c.age >= QuietTicks

RECURSIVE CloseQuietFrom(_, _)
CloseQuietFrom(w, p) ==
    IF p \notin Peers THEN w
    ELSE CloseQuietFrom(IF IsQuiet(w.conn[p]) THEN Settle(Put(w, p, GracefulClose(w.conn[p])), p) ELSE w, p + 1)

RECURSIVE AbortFrom(_, _)
AbortFrom(w, p) ==
    IF p \notin Peers THEN w
    ELSE AbortFrom(IF IsOpen(w.conn[p]) THEN Follow(Put(w, p, Fire(w.conn[p], "abort")), p) ELSE w, p + 1)

CloseListener(w) == [w EXCEPT !.listener.state = "closed", !.listener.backoff = {}]

BeginDrain(w) ==
    LET closed == CloseListener(Accept(w, AcceptsPerRound))
    IN CloseQuietFrom([closed EXCEPT !.server = [state |-> "draining", left |-> DrainTicks]], 1)

Drain(w) ==
    LET looked == CloseQuietFrom(w, 1) IN IF w.server.left = 0 THEN AbortFrom(looked, 1) ELSE looked

RunServer(w) ==
    CASE w.server.state = "asked" -> BeginDrain(w)
      [] w.server.state = "draining" -> Drain(w)
      [] OTHER -> w

RunDue(w) == RunServer(EndBackoff(ExpireFrom(w, 1)))

-----------------------------------------------------------------------------
(* Closing: asked for anywhere, performed here only. *)

Bury(w) ==
    [w EXCEPT !.conn = [p \in Peers |-> IF p \in w.closing THEN [Away EXCEPT !.fault = w.conn[p].fault] ELSE w.conn[p]],
              !.registry.open = [fd \in Descriptors |-> IF @[fd] \in w.closing THEN Nobody ELSE @[fd]],
              !.closing = {}]

(* Closing a listening socket resets those who wait. *)
TurnAway(w) ==
    [w EXCEPT !.conn = [p \in Peers |-> IF w.conn[p].place = "waiting" THEN Away ELSE w.conn[p]], !.listener.backlog = << >>]

PerformCloses(w) ==
    LET buried == IF w.closing = {} THEN w ELSE Relieve(Bury(w))
    IN IF w.listener.state = "closed" THEN TurnAway(buried) ELSE buried

HasDrained(w) == w.server.state = "draining" /\ \A p \in Peers : w.conn[p].place = "away"

StopIfDrained(w) == IF HasDrained(w) THEN [w EXCEPT !.server = [state |-> "stopped", left |-> 0]] ELSE w

RoundOf(w) ==
    LET settled == SettleFrom(w, 1)
        served == ServeFrom(settled, Reports(settled), 1)
        ran == RunDue(served)
        accepted == IF IsHeard(settled) THEN Accept(ran, AcceptsPerRound) ELSE ran
    IN StopIfDrained(PerformCloses(accepted))

(* In a sound design the bounds of these two are never met; they keep the broken ones finite. *)
Older(c) == IF IsOpen(c) THEN [c EXCEPT !.age = Minimum(@ + 1, Ticks[LimitOf(c)])] ELSE c
Less(ticks) == IF ticks = 0 THEN 0 ELSE ticks - 1

Ticked(w) ==
    [w EXCEPT !.conn = [p \in Peers |-> Older(w.conn[p])],
              !.listener.backoff = {left - 1 : left \in @},
              !.server.left = IF w.server.state = "draining" THEN Less(@) ELSE @]

-----------------------------------------------------------------------------
(* The steps. *)

Runs == server.state # "stopped"
Does(p, word) == Runs /\ word \in PeerDoes[p]

(* A peer whose connection we have given up has nothing to say to it any more. *)
IsAlive(p) == (conn[p].place = "waiting" \/ IsOpen(conn[p])) /\ ~conn[p].rst /\ ~conn[p].gone

Change(p, c) == conn' = [conn EXCEPT ![p] = c] /\ UNCHANGED <<registry, listener, server>>

Connect(p) ==
    /\ Does(p, "connect") /\ conn[p].place = "away" /\ listener.state # "closed"
    /\ conn' = [conn EXCEPT ![p].place = "waiting"]
    /\ listener' = [listener EXCEPT !.backlog = Append(@, p)]
    /\ UNCHANGED <<registry, server>>

Send(p) ==
    /\ Does(p, "send") /\ IsAlive(p) /\ ~conn[p].fin /\ conn[p].recvq < ReceiveRoom
    /\ MostChunks > 0 => conn[p].count.sent < MostChunks
    /\ Change(p, [conn[p] EXCEPT !.recvq = @ + 1, !.count = Counted(@, "sent", 1)])

Read(p) ==
    /\ Does(p, "read") /\ IsAlive(p) /\ conn[p].sendq > 0
    /\ LET units == Minimum(ReadUnits, conn[p].sendq)
       IN Change(p, [conn[p] EXCEPT !.sendq = @ - units, !.count = Counted(@, "read", units)])

Fin(p) ==
    /\ Does(p, "fin") /\ IsAlive(p) /\ ~conn[p].fin
    /\ Change(p, [conn[p] EXCEPT !.fin = TRUE])

(* Once both FINs have arrived there is nothing left to reset. *)
IsOver(c) == c.fin /\ c.shut /\ c.sendq <= PeerRoom

Vanish(c) == IF IsOver(c) THEN [c EXCEPT !.gone = TRUE, !.sendq = 0] ELSE [c EXCEPT !.rst = TRUE, !.sendq = 0]

Reset(p) ==
    /\ Does(p, "reset") /\ IsAlive(p)
    /\ Change(p, Vanish(conn[p]))

(* Who closes a socket with unread input resets the connection. *)
PeerCloses(p) ==
    /\ Does(p, "close") /\ IsAlive(p)
    /\ Change(p, IF conn[p].sendq > 0 THEN Vanish(conn[p]) ELSE [conn[p] EXCEPT !.fin = TRUE, !.gone = TRUE])

Application(p, word) == Runs /\ word \in ApplicationDoes[p] /\ IsOpen(conn[p])

Pause(p) ==
    /\ Application(p, "pause") /\ ~HasHold(conn[p], "paused") /\ ~HasHold(conn[p], "eof") /\ ~IsClosing(conn[p])
    /\ Change(p, Hold(conn[p], "paused"))

Resume(p) ==
    /\ Application(p, "resume") /\ HasHold(conn[p], "paused") /\ ~IsClosing(conn[p])
    /\ Change(p, Release(conn[p], "paused"))

Close(p) == Application(p, "close") /\ ~IsClosing(conn[p]) /\ Change(p, GracefulClose(conn[p]))

Abort(p) == Application(p, "abort") /\ Change(p, Fire(conn[p], "abort"))

EndOutput(p) ==
    /\ Application(p, "write_eof") /\ ~conn[p].sealed
    /\ Change(p, WriteEof(conn[p]))

DescriptorsRunOut ==
    /\ Runs /\ "descriptors" \in WorldDoes /\ ~listener.short /\ listener.state # "closed"
    /\ listener' = [listener EXCEPT !.short = TRUE] /\ UNCHANGED <<conn, registry, server>>

DescriptorsComeBack ==
    /\ Runs /\ listener.short
    /\ listener' = [listener EXCEPT !.short = FALSE] /\ UNCHANGED <<conn, registry, server>>

Stop ==
    /\ "stop" \in WorldDoes /\ server.state = "serving"
    /\ server' = [server EXCEPT !.state = "asked"] /\ UNCHANGED <<conn, registry, listener>>

(* The sets of one element have TLC compute the round once. *)
Round == Runs /\ \E after \in {RoundOf(World)} : Become(after)

TimePasses ==
    /\ Runs /\ "time" \in WorldDoes
    /\ \A p \in PromptReaders : conn[p].sendq = 0
    /\ \E after \in {RoundOf(Ticked(World))} : Become(after)

Init ==
    /\ conn = [p \in Peers |-> Away]
    /\ registry = [open |-> [fd \in Descriptors |-> Nobody], links |-> [fd \in Descriptors |-> Nobody],
                   watched |-> [fd \in Descriptors |-> Nowhere], armed |-> {}]
    /\ listener = [state |-> ListenerInitial, backlog |-> << >>, backoff |-> {}, short |-> FALSE]
    /\ server = [state |-> "serving", left |-> 0]

WorldMoves ==
    \/ \E p \in Peers : Connect(p)
    \/ \E p \in Peers : Send(p)
    \/ \E p \in Peers : Read(p)
    \/ \E p \in Peers : Fin(p)
    \/ \E p \in Peers : Reset(p)
    \/ \E p \in Peers : PeerCloses(p)
    \/ \E p \in Peers : Pause(p)
    \/ \E p \in Peers : Resume(p)
    \/ \E p \in Peers : Close(p)
    \/ \E p \in Peers : Abort(p)
    \/ \E p \in Peers : EndOutput(p)
    \/ DescriptorsRunOut
    \/ DescriptorsComeBack
    \/ Stop

Next == Round \/ TimePasses \/ WorldMoves

Safe == Init /\ [][Next]_vars
=============================================================================
