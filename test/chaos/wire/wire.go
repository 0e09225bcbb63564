// Package wire is the protocol between the processes of a chaos run and the harness: JSON lines
// over a Unix socket, whose path is in the environment. A driver, which exposes a library to the
// faults of this harness, needs this package, and package history for the messages.
//
// A process dials once and sends Hello. A client then answers calls until its connection ends. A
// worker sends Ready when it accepts tasks, and reports the effects of its runs.
package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// The environment of a process.
const (
	EnvSocket = "CHAOS_SOCKET" // the harness's socket
	EnvName   = "CHAOS_NAME"   // the process's name in the history
	EnvStore  = "CHAOS_STORE"  // the address of the store, through the proxy if there is one
	EnvLease  = "CHAOS_LEASE"  // a duration
	EnvGrace  = "CHAOS_GRACE"  // a duration: how long a worker has to end after SIGTERM
	// EnvRetention is how long ended tasks are kept, as a duration; 0s means for ever. A driver that
	// removes none leaves State.Retention out.
	EnvRetention = "CHAOS_RETENTION"
	// EnvHostile is the confinement of hostile children, separated by colons: the user that they run
	// as, and the cgroup files that they write themselves into.
	EnvHostile = "CHAOS_HOSTILE"
	// EnvSchedules has the schedules of the workers, as a list of history.Schedule in JSON; empty for
	// none.
	EnvSchedules = "CHAOS_SCHEDULES"
	// The rule that this process must break, to test the checker; usually empty.
	EnvBreak = "CHAOS_BREAK"
)

// What a library may be able to do, apart from what all must do. The command setup prints a line
// for each, and the harness asks only for these.
const (
	CanRecord      = "recorded"     // plans with Recorded
	CanIterate     = "items"        // plans with Items
	CanStartBefore = "start-before" // plans with StartBeforeMS
	CanCommandAll  = "command-all"  // CancelAll, RetryAll and DeleteAll
	CanSchedule    = "schedules"    // EnvSchedules and PauseSchedule
)

// Message is what a process sends. Exactly one of its parts is set.
type Message struct {
	// Hello is the first message. Ready reports that the process accepts tasks, or calls.
	Hello  *Hello          `json:",omitempty"`
	Ready  bool            `json:",omitempty"`
	Effect *history.Effect `json:",omitempty"`
	// N is the number of an effect on its connection, which its verdict repeats.
	N      int64           `json:",omitempty"`
	Answer *history.Answer `json:",omitempty"`
	// Left is what the process had not released when it ended: goroutines, connections.
	Left string `json:",omitempty"`
}

// Hello is the first message of a process.
type Hello struct {
	// Name is the name in the history.
	Name string
	PID  int
	Role string // worker, client, or program
}

// Reply is what the harness sends: a call to a client, or the verdict on an effect.
type Reply struct {
	// Call is for a client, Verdict for the process that has reported an effect.
	Call    *history.Call `json:",omitempty"`
	Verdict *Verdict      `json:",omitempty"`
}

// Verdict reports whether an effect was accepted.
type Verdict struct {
	// N is the number of the effect on its connection.
	N     int64
	Stale bool `json:",omitempty"`
}

// ErrStale is returned when the harness has refused an effect because a newer run of the task has
// already written.
var ErrStale = errors.New("chaos: refused: a newer run has written")

// Conn is a process's connection to the harness. Its methods are safe for concurrent use.
type Conn struct {
	name  string
	conn  net.Conn
	calls chan history.Call

	mu      sync.Mutex
	out     *json.Encoder
	n       int64
	waiting map[int64]chan Verdict
	err     error // why the connection has ended
}

// Dial connects to the harness and sends Hello.
func Dial(ctx context.Context, role string) (*Conn, error) {
	path := os.Getenv(EnvSocket)
	if path == "" {
		return nil, fmt.Errorf("chaos: %s is not set: this program is started by the harness", EnvSocket)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	c := &Conn{name: os.Getenv(EnvName), conn: conn, calls: make(chan history.Call), out: json.NewEncoder(conn), waiting: make(map[int64]chan Verdict)}
	if err := c.send(Message{Hello: &Hello{Name: c.name, PID: os.Getpid(), Role: role}}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go c.read() // until Close
	return c, nil
}

// Name returns the process's name in the history.
func (c *Conn) Name() string { return c.name }

// Calls returns the calls that a client must answer, one by one. The channel is closed when the
// connection ends. A process that gets no calls need not read it.
func (c *Conn) Calls() <-chan history.Call { return c.calls }

// Ready reports that a worker accepts tasks, or a client calls.
func (c *Conn) Ready() error { return c.send(Message{Ready: true}) }

// Answer sends the result of a call.
func (c *Conn) Answer(a history.Answer) error { return c.send(Message{Answer: &a}) }

// Left reports what the process had not released when it ended.
func (c *Conn) Left(what string) error { return c.send(Message{Left: what}) }

// Effect reports an effect. It returns nil when the harness has recorded it, or ErrStale if the
// harness has refused it. The name and the process id are filled in. The answer is awaited even if
// ctx ends, and then the cause of that is returned: otherwise a run could end while one of its
// effects is under way, and the harness would record it after the beginning of the next run.
func (c *Conn) Effect(ctx context.Context, e history.Effect) error {
	e.Process, e.PID = c.name, os.Getpid()
	verdict := make(chan Verdict, 1)
	c.mu.Lock()
	c.n++
	n := c.n
	c.waiting[n] = verdict
	err := errors.Join(c.err, c.out.Encode(Message{Effect: &e, N: n}))
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, n)
		c.mu.Unlock()
	}()
	if err != nil {
		return err
	}
	v, ok := <-verdict
	switch {
	case !ok:
		return errors.New("chaos: the harness has gone")
	case v.Stale:
		return ErrStale
	}
	return context.Cause(ctx)
}

// Close ends the connection.
func (c *Conn) Close() error { return c.conn.Close() }

func (c *Conn) send(m Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.err, c.out.Encode(m))
}

// read receives what the harness sends until the connection ends.
func (c *Conn) read() {
	in := json.NewDecoder(bufio.NewReader(c.conn))
	var err error
	for {
		var r Reply
		if err = in.Decode(&r); err != nil {
			break
		}
		if r.Verdict != nil {
			c.mu.Lock()
			verdict := c.waiting[r.Verdict.N]
			c.mu.Unlock()
			if verdict != nil {
				verdict <- *r.Verdict
			}
		}
		if r.Call != nil {
			c.calls <- *r.Call
		}
	}
	close(c.calls)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	for n, verdict := range c.waiting {
		close(verdict)
		delete(c.waiting, n)
	}
}

// Pause waits for d, or until ctx ends, and reports whether ctx is still active.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
