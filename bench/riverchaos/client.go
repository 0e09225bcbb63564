package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// caller answers the calls of the harness.
type caller struct {
	*river.Client[pgx.Tx]
	pool *pgxpool.Pool
}

// answerCalls is the command "client".
func answerCalls(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := wire.Dial(ctx, "client")
	if err != nil {
		return err
	}
	client, err := newClient(pool, nil)
	if err != nil {
		return err
	}
	if err := conn.Ready(); err != nil {
		return err
	}
	c := &caller{client, pool}
	for call := range conn.Calls() {
		if err := conn.Answer(c.do(ctx, call)); err != nil {
			return err
		}
	}
	return nil
}

// errRefused marks a call that was certainly not executed.
var errRefused = errors.New("refused")

// do executes a call.
func (c *caller) do(ctx context.Context, call history.Call) history.Answer {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	a := history.Answer{Call: call.ID, Outcome: history.Done}
	var err error
	switch call.Op {
	case history.Enqueue:
		err = c.enqueue(ctx, call.Plans, &a)
	case history.EnqueueTx:
		err = c.enqueueTx(ctx, call, &a)
	case history.Cancel, history.Retry:
		err = c.control(ctx, call)
	case history.Pause:
		err = c.QueuePause(ctx, queueOf(call.Queue), nil)
	case history.Resume:
		err = c.QueueResume(ctx, queueOf(call.Queue), nil)
	default:
		err = fmt.Errorf("%w: River has no %s", errRefused, call.Op)
	}
	if err != nil {
		a = history.Answer{Call: call.ID, Outcome: history.Unknown, Error: err.Error()}
		if errors.Is(err, errRefused) || errors.Is(err, rivertype.ErrNotFound) {
			a.Outcome = history.Refused
		}
	}
	return a
}

// control cancels or retries. River returns the job when there is nothing to do, and would run a
// completed job again if asked to, so control looks first, as a user would.
func (c *caller) control(ctx context.Context, call history.Call) error {
	var id int64
	if err := c.pool.QueryRow(ctx, `select id from river_job where (args->>'Seq')::int = $1`, call.Seq).Scan(&id); errors.Is(err, pgx.ErrNoRows) {
		return errors.Join(errRefused, err)
	} else if err != nil {
		return err
	}
	j, err := c.JobGet(ctx, id)
	if err != nil {
		return err
	}
	if j.State == rivertype.JobStateCompleted || call.Op == history.Retry && j.State == rivertype.JobStateRunning {
		return fmt.Errorf("%w: the job is %s", errRefused, j.State)
	}
	if call.Op == history.Retry {
		_, err = c.JobRetry(ctx, id)
		return err
	}
	j, err = c.JobCancel(ctx, id)
	if err == nil && (j.State == rivertype.JobStateCompleted || j.State == rivertype.JobStateDiscarded) {
		return fmt.Errorf("%w: the job is %s", errRefused, j.State)
	}
	return err
}

func queueOf(name string) string {
	if slices.Contains(queues, name) {
		return name
	}
	return river.QueueDefault
}

// insertion returns the insert parameters of a plan.
func insertion(p history.Plan) river.InsertManyParams {
	// 1 is the most urgent.
	opts := &river.InsertOpts{Queue: queueOf(p.Queue), Priority: min(max(2-p.Priority, 1), 4),
		UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: everyState}}
	if p.DelayMS > 0 {
		opts.ScheduledAt = time.Now().Add(time.Duration(p.DelayMS) * time.Millisecond)
	}
	j := job{Plan: p, Unique: fmt.Sprint("seq ", p.Seq)}
	if p.Key != "" {
		j.Unique, opts.UniqueOpts.ByState = "key "+p.Key, unfinished
	}
	return river.InsertManyParams{Args: j, InsertOpts: opts}
}

// insert inserts plans, and adds the results to an answer. River cannot insert two jobs with the
// same key in one statement, so plans with a key are inserted one by one.
func insert(plans []history.Plan, a *history.Answer, some func([]river.InsertManyParams) ([]*rivertype.JobInsertResult, error)) error {
	a.IDs, a.Existed = make([]string, len(plans)), make([]bool, len(plans))
	var (
		plain  []river.InsertManyParams
		places []int
	)
	fill := func(places []int, batch []river.InsertManyParams) error {
		if len(batch) == 0 {
			return nil
		}
		done, err := some(batch)
		if err != nil {
			return err
		}
		for i, d := range done {
			var there job
			if err := json.Unmarshal(d.Job.EncodedArgs, &there); err != nil {
				return err
			}
			a.IDs[places[i]] = nameOf(there, d.Job.ID)
			a.Existed[places[i]] = there.Seq != plans[places[i]].Seq
		}
		return nil
	}
	for i, p := range plans {
		if p.Key == "" {
			plain, places = append(plain, insertion(p)), append(places, i)
		} else if err := fill([]int{i}, []river.InsertManyParams{insertion(p)}); err != nil {
			return err
		}
	}
	return fill(places, plain)
}

// enqueue inserts. Plans without a key are retried when the answer was lost. A plan with a key is
// not: it may have been inserted and have ended already, and would be inserted twice.
func (c *caller) enqueue(ctx context.Context, plans []history.Plan, a *history.Answer) error {
	return insert(plans, a, func(batch []river.InsertManyParams) ([]*rivertype.JobInsertResult, error) {
		for {
			done, err := c.InsertMany(ctx, batch)
			if err == nil || batch[0].Args.(job).Key != "" || !wire.Pause(ctx, 200*time.Millisecond) {
				return done, err
			}
		}
	})
}

// enqueueTx inserts jobs together with rows of the driver's own, and commits or rolls back.
func (c *caller) enqueueTx(ctx context.Context, call history.Call, a *history.Answer) error {
	tx, err := c.pool.Begin(ctx)
	if err != nil {
		return errors.Join(errRefused, err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after a commit it does nothing, and before one all is undone in any case
	err = insert(call.Plans, a, func(batch []river.InsertManyParams) ([]*rivertype.JobInsertResult, error) {
		return c.InsertManyTx(ctx, tx, batch)
	})
	for i, p := range call.Plans {
		if err == nil && !a.Existed[i] {
			_, err = tx.Exec(ctx, `insert into chaos_enqueued (seq, task) values ($1, $2)`, p.Seq, a.IDs[i])
		}
	}
	if err != nil {
		return errors.Join(errRefused, err)
	}
	if !call.Commit {
		return nil
	}
	return tx.Commit(ctx)
}
