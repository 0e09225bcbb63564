package task

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// DefaultQueue is the queue of tasks that name no other.
const DefaultQueue = "default"

// Enqueue records a new task. Once it has returned without an error the task survives this process.
// opt may be nil.
//
// When a task of the kind holds the same EnqueueOptions.Key, or this task was added before (a task
// of that ID, kind and payload exists), the result has the id of that task, its Outcome is what
// happened to the new one, and the error is nil. Errors are as of [Client.Enqueue].
func (k Kind[T]) Enqueue(ctx context.Context, c *Client, args T, opt *EnqueueOptions) (EnqueueResult, error) {
	n, err := k.Prepare(args, opt)
	if err != nil {
		return EnqueueResult{}, err
	}
	return c.enqueue(ctx, n)
}

// Prepare prepares a task of the kind for [Client.EnqueueMany]. opt may be nil.
func (k Kind[T]) Prepare(args T, opt *EnqueueOptions) (NewTask, error) {
	payload, err := json.Marshal(args)
	if err != nil {
		return NewTask{}, fmt.Errorf("task: payload of kind %q: %w", k.Name, err)
	}
	return newTask(k.Name, k.Queue, payload, opt)
}

// Prepare checks a new task, whose kind is given by name, for [Client.EnqueueMany]. The task has
// its id from here on, so that enqueuing it again creates no second task. opt may be nil. The
// payload must be JSON, and is kept, not copied. An error is ErrInvalid.
func Prepare(kind string, payload []byte, opt *EnqueueOptions) (NewTask, error) {
	n, err := newTask(kind, "", payload, opt)
	if err != nil {
		return n, err
	}
	return n, checkJSON(kind, payload)
}

// checkJSON refuses a payload that no handler could decode.
func checkJSON(kind string, payload []byte) error {
	switch {
	case len(payload) == 0:
		return invalid("payload of kind %q is empty, which is no JSON: give null where there is nothing to say", kind)
	case !json.Valid(payload):
		return invalid("payload of kind %q is no JSON: encode it, or use Kind.Enqueue, which does; it begins with %.40q", kind, payload)
	}
	return nil
}

// Enqueue records a new task, whose kind is given by name. Once it has returned without an error
// the task survives this process. The payload must be JSON; opt may be nil. Enqueue does not check
// that a worker knows the kind: the task waits for one that does. It does not know the Queue of the
// Kind either: without EnqueueOptions.Queue the task waits in DefaultQueue.
//
// When a task of the kind holds the same EnqueueOptions.Key, or this task was added before (a task
// of that ID, kind and payload exists), the result has the id of that task, its Outcome is what
// happened to the new one, and the error is nil. The task that holds a key may be another caller's,
// with another payload.
//
// Errors:
//
//   - ErrInvalid: the caller's mistake.
//   - ErrIDConflict: the ID is that of a task of another kind or with another payload.
//   - ErrKeyBusy: try again.
//   - Any other: it is not known whether the task was recorded. Enqueuing again with the same
//     EnqueueOptions.ID is safe.
func (c *Client) Enqueue(ctx context.Context, kind string, payload []byte, opt *EnqueueOptions) (EnqueueResult, error) {
	n, err := Prepare(kind, bytes.Clone(payload), opt)
	if err != nil {
		return EnqueueResult{}, err
	}
	return c.enqueue(ctx, n)
}

func (c *Client) enqueue(ctx context.Context, n NewTask) (EnqueueResult, error) {
	if len(c.middleware) == 0 {
		return c.enqueueOne(ctx, n)
	}
	done, err := c.wrapped(func(ctx context.Context, tasks []NewTask) ([]EnqueueResult, error) {
		one, err := c.enqueueOne(ctx, tasks[0])
		return []EnqueueResult{one}, err
	})(ctx, []NewTask{n})
	if err != nil {
		return EnqueueResult{ID: n.ID}, err
	}
	return done[0], nil
}

func (c *Client) enqueueOne(ctx context.Context, n NewTask) (EnqueueResult, error) {
	added, err := c.add(ctx, []NewTask{n})
	if err != nil {
		return EnqueueResult{ID: n.ID}, fmt.Errorf("task: enqueue %s: %w", n.ID, err)
	}
	done := enqueued(added[0])
	if done.Err != nil {
		return EnqueueResult{ID: n.ID}, fmt.Errorf("task: enqueue %s: %w", n.ID, done.Err)
	}
	return done, nil
}

// manyStep bounds the tasks of one call of the store, and so the length of its transaction.
const manyStep = 5000

// EnqueueMany records tasks that [Kind.Prepare] or [Prepare] has prepared, thousands in one
// transaction. The results are in the order of the tasks.
//
// When some are not added (see EnqueueResult.Err) all others have been recorded, there is a result
// for each, and the error is ErrKeyBusy, ErrIDConflict or both, with their number. After any other
// error the tasks that have a result without an Err are recorded, and it is not known whether the
// others are. In both cases enqueuing the same tasks again is safe, since they keep their ids.
func (c *Client) EnqueueMany(ctx context.Context, tasks []NewTask) ([]EnqueueResult, error) {
	if len(c.middleware) == 0 || len(tasks) == 0 {
		return c.enqueueMany(ctx, tasks)
	}
	return c.wrapped(c.enqueueMany)(ctx, slices.Clone(tasks))
}

func (c *Client) enqueueMany(ctx context.Context, tasks []NewTask) ([]EnqueueResult, error) {
	done := make([]EnqueueResult, 0, len(tasks))
	busy, conflicts := 0, 0
	for step := range slices.Chunk(tasks, manyStep) {
		added, err := c.add(ctx, step)
		if err != nil {
			return done, fmt.Errorf("task: enqueue %d tasks, after %d: %w", len(step), len(done), err)
		}
		for _, a := range added {
			switch {
			case a.Busy:
				busy++
			case a.Conflict:
				conflicts++
			}
			done = append(done, enqueued(a))
		}
	}
	return done, leftOut(busy, conflicts, len(tasks))
}

// leftOut returns the error of a call that has recorded all but some of its tasks.
func leftOut(busy, conflicts, all int) error {
	var errs []error
	if busy > 0 {
		errs = append(errs, fmt.Errorf("task: enqueue: %w: %d of %d tasks were not added, since open transactions hold their keys: enqueue those again", ErrKeyBusy, busy, all))
	}
	if conflicts > 0 {
		errs = append(errs, fmt.Errorf("task: enqueue: %w: %d of %d tasks were not added, since tasks of another kind or with another payload have their ids: give those new ones", ErrIDConflict, conflicts, all))
	}
	return errors.Join(errs...)
}

func (c *Client) add(ctx context.Context, tasks []NewTask) ([]AddResult, error) {
	if c.tx == nil {
		return c.store.Add(ctx, tasks)
	}
	if c.tx == (noTx{}) {
		return nil, invalid("Client.WithTx was given no transaction: begin one, or use the client without WithTx")
	}
	s, ok := c.store.(TxStore)
	if !ok {
		return nil, errNoTx(c.store, c.tx)
	}
	return s.AddTx(ctx, c.tx, tasks)
}

// WithTx returns a client that enqueues inside the caller's transaction, which a store's package
// wraps. The tasks exist when it commits, together with the caller's own rows, and never if it does
// not. Only enqueuing is part of the transaction. Call Wake on the client after the commit; without
// it workers find the tasks within a second or two. With a nil tx enqueuing is ErrInvalid.
func (c *Client) WithTx(tx Tx) *Client {
	if tx == nil {
		tx = noTx{}
	}
	in := *c
	in.tx = tx
	return &in
}

// noTx is a transaction that the caller forgot.
type noTx struct{}

func (noTx) StoreTx() string { return "none" }

// Wake reports that a transaction in which tasks were enqueued has been committed. An idle worker,
// in any process, then starts them within milliseconds; otherwise it finds them at its next poll. A
// needless call costs one poll.
func (c *Client) Wake() {
	if s, ok := c.store.(TxStore); ok {
		s.Wake()
	}
}

func errNoTx(s Store, tx Tx) error {
	if tx == nil {
		return invalid("no transaction was given")
	}
	return fmt.Errorf("task: a %T cannot work inside a transaction of %s", s, tx.StoreTx())
}

// newTask checks the new task of a client.
func newTask(kind, queue string, payload []byte, opt *EnqueueOptions) (NewTask, error) {
	var o EnqueueOptions
	if opt != nil {
		o = *opt
	}
	if o.ID == "" {
		o.ID = newID()
	}
	if o.Queue != "" {
		queue = o.Queue
	}
	if queue == "" {
		queue = DefaultQueue
	}
	n := NewTask{ID: o.ID, Kind: kind, Queue: queue, Key: o.Key, Payload: payload, Meta: maps.Clone(o.Meta), Priority: o.Priority, Delay: o.Delay, StartBefore: o.StartBefore,
		OnConflict: o.OnConflict, KeyFor: o.KeyFor}
	if len(n.Meta) == 0 {
		n.Meta = nil
	}
	return n, n.check()
}

// check returns what is wrong with a new task, as a client or its middleware made it.
func (n *NewTask) check() error {
	if err := checkID(n.ID); err != nil {
		return err
	}
	if err := checkName("kind", n.Kind); err != nil {
		return err
	}
	if err := checkName("queue", n.Queue); err != nil {
		return err
	}
	switch {
	case len(n.Payload) > MaxPayload:
		return invalid("payload has %d bytes, at most %d are kept: put it into a file and enqueue the file's name", len(n.Payload), MaxPayload)
	case n.Priority < math.MinInt32 || n.Priority > math.MaxInt32:
		return invalid("priority %d must be from %d to %d", n.Priority, math.MinInt32, math.MaxInt32)
	case n.Delay < 0:
		return invalid("delay %v is negative: leave it out to begin at once", n.Delay)
	case n.Delay > maxDelay:
		return invalid("delay %v is longer than a hundred years: use less", n.Delay)
	case n.StartBefore < 0 || n.StartBefore > maxDelay:
		return invalid("start before %v must be from 0, which is no bound, to a hundred years", n.StartBefore)
	case n.StartBefore > 0 && n.StartBefore <= n.Delay:
		return invalid("start before %v is over when the delay of %v is: the task could never begin", n.StartBefore, n.Delay)
	}
	if err := n.checkKey(); err != nil {
		return err
	}
	return checkMeta(n.Meta)
}
