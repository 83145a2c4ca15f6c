/* What is known of a server: its bounds, its connections, and the names of what must hold.
 *
 * A *unit* is a number of bytes that is never looked into: what a recv brings, what the application writes at least, and what
 * the kernel takes at least. A buffer of two units can be taken in part.
 */

#ifndef D
#define D 2         /* descriptors for connections; the lowest free one is used next, as Unix does */
#endif
#ifndef LIMIT
#define LIMIT D     /* connections at once; over D, descriptors run out before the limit is reached */
#endif
#ifndef BACKLOG
#define BACKLOG 1   /* who may wait to be accepted */
#endif
#ifndef ACCEPTS
#define ACCEPTS 1   /* accepts a round */
#endif
#ifndef RECEIVED
#define RECEIVED 1  /* units that the kernel keeps for us */
#endif
#ifndef TAKEN
#define TAKEN 1     /* units that the kernel takes from us before the peer reads */
#endif
#ifndef HIGH
#define HIGH 1      /* over this the outbox holds up reading ... */
#endif
#ifndef LOW
#define LOW 0       /* ... until it is down to this */
#endif
#ifndef CAP
#define CAP 3       /* over this the application is given up */
#endif
#ifndef LINGER
#define LINGER 1    /* units read and thrown away after our FIN */
#endif

typedef Connection {
    /* The kernel's side. */
    unsigned used : 1;      /* the descriptor is open */
    unsigned in : 2;        /* what came and was not received */
    unsigned fin : 1;       /* the peer's FIN came, behind that */
    unsigned rst : 1;       /* the socket has failed */
    unsigned urgent : 1;    /* it is in the exceptional set */
    unsigned out : 2;       /* what was taken from us and the peer has not read */
    unsigned shut : 1;      /* our FIN, behind that */
    /* The peer. */
    unsigned gone : 1;      /* it has closed: it reads no more and answers bytes with a reset */
    unsigned deaf : 1;      /* it will never read again */
    unsigned mute : 1;      /* it will never send again, nor end */
    /* The machine. */
    unsigned state : 3 = CLOSED;
    unsigned holds : 4;
    unsigned box : 3;       /* the outbox */
    unsigned sealed : 1;    /* the end of the stream is queued behind it */
    unsigned lingered : 2;
    /* What the scheduler keeps for it. */
    unsigned known : 1;     /* in `queues`, and the token leads to it */
    unsigned watched : 2;   /* what it is registered for: in `inputs`, in `outputs` */
    unsigned muted : 1;     /* not reported until its interest changes */
    unsigned armed : 1;     /* its deadline is in the calendar */
    unsigned late : 1;      /* the limit that runs now has passed */
    unsigned dying : 1;     /* to be closed at the end of the round */
    unsigned report : 5;    /* what the wait said of it and was not handled yet */
    /* Only the properties look at these. */
    unsigned owed : 3;      /* written by the application less taken by the kernel less discarded */
    unsigned ended : 1;     /* end of stream was received */
    unsigned stale : 1;     /* the report is about the descriptor's former user */
    unsigned graceful : 1;  /* it was closed by `finish` */
#ifdef ORDER
    unsigned line : 3;      /* the outbox, each unit numbered modulo 2, the first one lowest */
    unsigned tail : 1;      /* the number of the next unit that is written */
    unsigned head : 1;      /* the number of the next unit that the kernel must take */
#endif
}

Connection c[D];

#define REPORT_READ 1
#define REPORT_WRITE 2
#define REPORT_EXCEPTIONAL 4
#define REPORT_HANGUP 8
#define REPORT_ERROR 16

/* Where the round is: at a connection, at its end (timers, accept, closes), or waiting. */
#define END D
#define WAITING (D + 1)
unsigned at : 3 = WAITING;
bit did = 1;                /* something came of this round's reports */

unsigned listener : 3 = L_LISTENING;
bit listener_watched = 1;
bit listener_report;
unsigned backlog : 2;
unsigned backoff : 2;       /* the exhausted listener's timer: */
#define NOT_RUNNING 0
#define RUNNING 1
#define ELAPSED 2
bit scarce;                 /* the rest of the system has used up descriptors or memory */

unsigned stop : 2;
#define SERVING 0
#define ASKED 1
#define DRAINING 2
#define STOPPED 3
bit drain_late;             /* drain_s has passed */
bit took;                   /* the last step of the server took a unit from the outbox of connection SEEN */
#ifndef SEEN
#define SEEN 0              /* the descriptor that the properties of liveness follow */
#endif

#if D == 1
#define SUM(what) (what(0))
#elif D == 2
#define SUM(what) (what(0) + what(1))
#else
#define SUM(what) (what(0) + what(1) + what(2))
#endif

#define KNOWN(j) c[j].known
#define USED(j) c[j].used
#define DYING(j) c[j].dying
#define READS_NOW(j) READS(c[j].state, c[j].holds)
#define WRITES_NOW(j) (WRITES(c[j].state, c[j].holds) && !(WRITING_IS_NOT_WATCHED && c[j].state == WRITING))
#define INTEREST_NOW(j) (READS_NOW(j) * I_READ + WRITES_NOW(j) * I_WRITE)
#define DEADLINE_NOW(j) (DEADLINE(c[j].state, c[j].holds))
#define ROOM (SUM(KNOWN) < LIMIT + ROOM_FOR_ONE_MORE)
#ifdef REFUSE
#define LISTENER_READS(state) (L_READS_IF_REFUSED(state) || (EXHAUSTED_IS_WATCHED && (state) == L_EXHAUSTED))
#else
#define LISTENER_READS(state) (L_READS_IF_THEY_WAIT(state) || (EXHAUSTED_IS_WATCHED && (state) == L_EXHAUSTED))
#endif

/* What is inside of a STEP is deterministic. Spin is twice as fast when told so, but then it does not see which statements were
 * taken, nor that there is no choice; so the smaller models are run without, and have to have the same states. */
#ifdef FAST
#define STEP d_step
#else
#define STEP
#endif

/* Scratch paper: written before it is read within one step, so no part of the state. */
hidden byte next, k, n, act, other, ran, batch;

/* The names are never set. They are there so that Spin prints the name of what does not hold. */
#define MUST(name, fact) assert(name || (fact))
hidden byte transition_is_legal, graceful_loses_nothing, bytes_are_conserved, bytes_keep_their_order, eof_comes_once,
    outbox_follows_state, outbox_is_bounded, lingering_is_bounded, pressure_protects_an_echo, pressure_is_true, fin_follows_the_last_byte,
    registration_is_interest, queues_are_the_open, closed_has_no_timer, open_has_a_timer, one_close, no_descriptor_is_lost,
    token_is_fresh, reply_is_not_reset, muted_wants_nothing, everyone_is_served, round_does_something, limit_is_kept,
    listener_is_watched_as_its_state_wants, stopped_means_all_is_over;
