/* What is around the server: peers, the application's timers, time, the rest of the system, and who stops it.
 *
 * *When.* With -DANY_MOMENT all of this happens at any moment. Without it, what concerns connection j happens while the server
 * waits and right before it touches j. At every other moment it commutes with what the server does, since they touch
 * different variables; so no state is lost in which the server waits, and there are several times fewer of them.
 */

#ifdef ANY_MOMENT
#define MOMENT(j) (c[j].known)
#define BETWEEN_ROUNDS (1)
#else
#define MOMENT(j) (c[j].known && (at == WAITING || at == j))
#define BETWEEN_ROUNDS (at == WAITING)
#endif
#define CAN_SEND(j) (MOMENT(j) && !c[j].fin && !c[j].rst && !c[j].mute)
#define CAN_READ_AT_ALL(j) (!c[j].gone && !c[j].deaf && c[j].out > 0)
#define CAN_READ(j) (MOMENT(j) && CAN_READ_AT_ALL(j))
/* The server, and what is around each descriptor, and the house, are started before the clocks. */
#define FIRST_CLOCK (D + 2)
#define FIRST_READER (D + D + 2)
#ifdef LIVE
#define MAY_TICK (1)
#else
#define MAY_TICK BETWEEN_ROUNDS
#endif
#define TIME_CAN_PASS(j) (c[j].known && c[j].armed && !c[j].late && MAY_TICK && DEADLINE_NOW(j) != T_FOR_EVER && \
    !(HALF_CLOSED_IS_FOR_EVER && DEADLINE_NOW(j) == T_HALF_CLOSED_S) && !(LINGERING_IS_FOR_EVER && DEADLINE_NOW(j) == T_LINGER_S))
#define WAITS(j) (at == WAITING && stop != STOPPED && c[j].known && c[j].state != ACCEPTED)

/* Bytes reach a peer that has closed: its system answers with a reset. */
inline answer_with_reset(j)
{
    c[j].rst = 1;
    c[j].out = 0
}

inline happen_around(j)
{
    if
    /* The peer sends, ends its direction, reads; closes, or resets; and does none of this as long as it likes. */
    :: atomic { CAN_SEND(j) && c[j].in < RECEIVED -> c[j].in++ }
    :: atomic { CAN_SEND(j) -> c[j].fin = 1 }
    :: atomic { CAN_READ(j) -> c[j].out-- }
#ifdef LEAVES
    :: atomic { MOMENT(j) && !c[j].gone && !c[j].rst && !c[j].mute -> c[j].gone = 1; c[j].fin = 1 }
    :: atomic { MOMENT(j) && c[j].gone && c[j].out > 0 -> answer_with_reset(j) }
#endif
#ifdef RESETS
    :: atomic { MOMENT(j) && !c[j].rst && !c[j].mute -> answer_with_reset(j) }
#endif
#ifdef URGENT
    :: atomic { CAN_SEND(j) && !c[j].urgent -> c[j].urgent = 1 }
#endif
#ifdef LIVE
    :: atomic { MOMENT(j) && !c[j].mute -> c[j].mute = 1 }
    :: atomic { MOMENT(j) && !c[j].deaf -> c[j].deaf = 1 }
#elif defined(EXPIRES)
    :: atomic { TIME_CAN_PASS(j) -> c[j].late = 1 }
#endif
    /* The application's timers. */
#ifdef PAUSES
    :: atomic { WAITS(j) && (c[j].holds & H_PAUSED) -> act = A_RESUME; STEP { timer(j) } }
#endif
#ifdef PUSHES
    :: atomic { WAITS(j) -> act = A_WRITE; STEP { timer(j) } }
#endif
#ifdef CLOSES
    :: atomic { WAITS(j) && !(c[j].holds & H_FINISHING) -> act = A_CLOSE; STEP { timer(j) } }
#endif
#ifdef STOPS
    :: atomic { WAITS(j) && QUIET(j) -> STEP { close_quiet(j) } }
#endif
    fi
}

active proctype Around0()
{
end:
    do
    :: happen_around(0)
    od
}
#if D > 1
active proctype Around1()
{
end:
    do
    :: happen_around(1)
    od
}
#endif
#if D > 2
active proctype Around2()
{
end:
    do
    :: happen_around(2)
    od
}
#endif

active proctype House()
{
end:
    do
    :: atomic { BETWEEN_ROUNDS && listener != L_CLOSED && backlog < BACKLOG -> backlog++ }
#ifdef SCARCE
    :: atomic { BETWEEN_ROUNDS && listener != L_CLOSED -> scarce = !scarce }
#endif
#if !defined(LIVE) && (defined(SCARCE) || LIMIT > D)
    :: atomic { BETWEEN_ROUNDS && backoff == RUNNING -> backoff = ELAPSED }
#endif
#ifdef STOPS
    :: atomic { BETWEEN_ROUNDS && stop == SERVING -> stop = ASKED }
#ifndef LIVE
    :: atomic { BETWEEN_ROUNDS && stop == DRAINING && !drain_late -> drain_late = 1 }
#endif
#endif
    od
}

#ifdef LIVE
/* What happens in the end needs fairness, and Spin's is of processes: so what must go on has a process of its own. Each clock
 * goes on at any moment: were it possible between rounds only, it would not be possible without a break. */
active [D] proctype Clock()
{
end:
    do
    :: atomic { TIME_CAN_PASS(_pid - FIRST_CLOCK) -> c[_pid - FIRST_CLOCK].late = 1 }
    od
}

/* A peer that is not deaf goes on reading. */
active [D] proctype Reader()
{
end:
    do
    :: atomic { c[_pid - FIRST_READER].known && CAN_READ_AT_ALL(_pid - FIRST_READER) -> c[_pid - FIRST_READER].out-- }
    od
}

active proctype Backoff()
{
end:
    do
    :: atomic { backoff == RUNNING -> backoff = ELAPSED }
    od
}

active proctype DrainLimit()
{
end:
    do
    :: atomic { stop == DRAINING && !drain_late -> drain_late = 1 }
    od
}
#endif
