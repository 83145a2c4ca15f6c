------------------------------- MODULE Trace -------------------------------
(***************************************************************************)
(* Are recorded traces behaviours of the machine?  The same question that  *)
(* src/fsmserver/core/behaviour.py answers, asked of TLC over the same     *)
(* table, so that the two check each other.  For short traces.             *)
(*                                                                         *)
(* TraceData is written by `python -m specs.trace_to_tla`: Traces, a       *)
(* sequence of traces, each a sequence of lines.  Holds are the bits of    *)
(* Table.  Times are ranks: equal times have equal ranks, later ones       *)
(* higher; how long a deadline ran is given beside them, in milliseconds.  *)
(*                                                                         *)
(* Left to the Python checker alone: whose doing an end was, and the words *)
(* of its error.                                                           *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets, TLC, Table, TraceData

VARIABLES
    trace,  \* Which of the traces this is.
    at,     \* The line to be judged now.
    last,   \* The last line of each connection that has had one.
    wrong   \* What is wrong with the line.

vars == <<trace, at, last, wrong>>

Lines == Traces[trace]
Numbers == {Lines[i].connection : i \in DOMAIN Lines}

Birth(line) ==
    [line EXCEPT !.t = line.since, !.event = "accept", !.to = Initial, !.holds = NoHold, !.received = 0, !.written = 0,
                 !.taken = 0, !.outbox = 0, !.discarded = 0]

(* What is held once the event is over. *)
Lasting(line) == IF line.event = "eof" THEN With(line.holds, "eof") ELSE line.holds

Rule(name, holds) == IF holds THEN {} ELSE {name}

-----------------------------------------------------------------------------
(* A line by itself. *)

Arrow(line) ==
    /\ line.event \in Events /\ line.from \in States /\ line.holds \in HoldSets
    /\ Legal(line.from, line.event) /\ line.to = NextState[line.from][line.event]

IsPossible(line) ==
    /\ line.event \in {"receive", "eof", "exceptional"} => Reads(line.from, line.holds)
    /\ line.event = "finish" <=> OwesNothing(line.from, line.holds)
    /\ line.event = "enqueue" => ~Held(line.holds, "finishing")
    /\ line.from = Initial => line.holds \in {NoHold, With(NoHold, "paused")}
    /\ Held(line.holds, "backpressure") => line.from \in Sending /\ line.to \in Sending \cup Final

Itself(line) ==
    Rule("is possible", IsPossible(line))
    \cup Rule("interest", line.interest = Interest(line.to, line.holds))
    \cup Rule("deadline", line.deadline = Deadline(line.to, line.holds))
    \cup Rule("counts", line.written = line.taken + line.outbox + line.discarded)
    \cup Rule("outbox", line.outbox > 0 <=> line.to \in Sending)
    \cup Rule("marks", 0 <= line.low /\ line.low <= line.high)
    \cup Rule("discarded", line.to \in Final \/ line.discarded = 0)
    \cup Rule("expiry", IF line.event = "expire"
                        THEN \/ line.limit = Deadline(line.from, line.holds) /\ line.ran_ms >= line.after_ms - 1
                             \/ line.limit = "lifetime_s" /\ line.lived_ms >= line.after_ms - 1
                        ELSE line.limit = "")

-----------------------------------------------------------------------------
(* A line after the one before it of its connection. *)

Took(former, line) == line.taken - former.taken

HoldsGoOn(former, line) ==
    /\ Held(line.holds, "eof") <=> Held(Lasting(former), "eof")
    /\ Held(former.holds, "finishing") => Held(line.holds, "finishing")
    /\ Held(former.holds, "backpressure") /\ ~Held(line.holds, "backpressure") => former.event = "flush"

Pressed(former, line) ==
    /\ former.event = "enqueue" /\ former.outbox > former.high => Held(line.holds, "backpressure")
    /\ Held(former.holds, "backpressure") /\ ~Held(line.holds, "backpressure") => former.outbox - Took(former, line) <= former.low

TakenRightly(former, line) ==
    IF former.event = "flush"
    THEN /\ 0 <= Took(former, line) /\ Took(former, line) <= former.outbox
         /\ Took(former, line) = former.outbox => line.event = "drain"
    ELSE Took(former, line) = 0

AtOnce(former, line) == line.event = "drain" \/ OwesNothing(former.to, Lasting(former)) => line.t = former.t

(* When the limit that ran until this line had begun anew. *)
SinceThen(former, line) ==
    LET ran == Deadline(former.to, Lasting(former))
    IN IF Deadline(line.from, line.holds) # ran THEN former.t <= line.since /\ line.since <= line.t
       ELSE IF line.event = "enqueue" /\ line.deadline # ran THEN line.since = line.t
       ELSE IF former.event # "accept" /\ Deadline(former.from, former.holds) # ran THEN line.since = former.t
       ELSE IF former.event = "receive" /\ Renews(former.to, former.holds, "received") THEN line.since = former.t
       ELSE IF former.event = "flush" /\ Renews(former.to, former.holds, "taken") /\ Took(former, line) > 0 THEN line.since = former.t
       ELSE line.since = former.since

After(former, line) ==
    Rule("goes on", line.from = former.to)
    \cup Rule("descriptor", line.fd = former.fd)
    \cup Rule("holds", HoldsGoOn(former, line))
    \cup Rule("backpressure", Pressed(former, line))
    \cup Rule("received", IF former.event = "receive" THEN line.received > former.received ELSE line.received = former.received)
    \cup Rule("written", IF line.event = "enqueue" THEN line.written > former.written ELSE line.written = former.written)
    \cup Rule("taken", TakenRightly(former, line))
    \cup Rule("at once", AtOnce(former, line))
    \cup Rule("since", line.from = former.to => SinceThen(former, line))

-----------------------------------------------------------------------------
(* A line in its trace. *)

IsMet(number) == number \in DOMAIN last
IsOpen(number) == IsMet(number) /\ last[number].to \notin Final

Among(line) ==
    Rule("time", at = 1 \/ Lines[at - 1].t <= line.t)
    \cup Rule("number", line.connection >= 1)
    \cup Rule("over", IsMet(line.connection) => IsOpen(line.connection))
    \cup Rule("descriptor in use", \A other \in Numbers \ {line.connection} : IsOpen(other) => last[other].fd # line.fd)
    \cup Rule("born", ~IsMet(line.connection) => line.since <= line.t)

Objections(line) ==
    IF ~Arrow(line) THEN {"arrow"}
    ELSE Itself(line) \cup Among(line)
         \cup After(IF IsMet(line.connection) THEN last[line.connection] ELSE Birth(line), line)

AtEnd == Rule("each is closed", \A number \in Numbers : ~IsOpen(number))

Found == IF at > Len(Lines) THEN AtEnd ELSE Objections(Lines[at])

(* PrintT is true, and says it: so one run judges many traces. *)
Said(found) == IF found = {} THEN TRUE ELSE PrintT(<<"WRONG", trace, at, found>>)

Init ==
    /\ trace \in DOMAIN Traces /\ at = 1 /\ wrong = {}
    /\ last = << >>

Follow ==
    /\ wrong = {} /\ at <= Len(Lines) + 1
    /\ \E found \in {Found} :
        /\ Said(found)
        /\ wrong' = found
        /\ IF found = {} /\ at <= Len(Lines)
           THEN at' = at + 1 /\ last' = (Lines[at].connection :> Lines[at]) @@ last
           ELSE at' = (IF found = {} THEN Len(Lines) + 2 ELSE at) /\ UNCHANGED last
    /\ UNCHANGED trace

Spec == Init /\ [][Follow]_vars

NothingIsWrong == wrong = {}
=============================================================================
