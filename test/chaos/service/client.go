//go:build linux

package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/pgstore"
	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// patience bounds a call. The harness waits longer. It must be shorter than the retention: if a
// task was removed before the call is repeated, the repetition would create it again.
func (s settings) patience() time.Duration {
	const most = 20 * time.Second
	if s.retention == 0 {
		return most
	}
	return min(most, s.retention*2/3)
}

// client is a process that answers calls.
type client struct {
	settings
	tasks *task.Client
	all   *task.Client // for commands to all tasks of a queue
	spare *sparing     // its store
	db    *sql.DB      // the service's own tables; nil if there are none
}

// answerCalls is the command "client".
func answerCalls(s settings) (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	conn, err := wire.Dial(ctx, "client")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	store, err := openStore(ctx, s.store, false, s.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	kept := s.breaks.store(store)
	c := &client{settings: s, tasks: task.NewClient(kept), spare: &sparing{Store: kept}}
	c.all = task.NewClient(c.spare)
	if c.db, err = openTables(s.store, 2); err != nil {
		return err
	}
	if c.db != nil {
		defer func() { err = errors.Join(err, c.db.Close()) }()
	}
	go endWithInput(cancel)
	if err := conn.Ready(); err != nil {
		return err
	}
	for {
		select {
		case call, ok := <-conn.Calls():
			if !ok {
				return nil
			}
			if err := conn.Answer(c.do(ctx, call)); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// endWithInput calls end when standard input has ended, if that is a pipe. It runs until the
// process ends.
func endWithInput(end func()) {
	if info, err := os.Stdin.Stat(); err != nil || info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) == 0 {
		return
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // only its end matters
	end()
}

// do executes a call.
func (c *client) do(ctx context.Context, call history.Call) history.Answer {
	ctx, cancel := context.WithTimeout(ctx, c.patience())
	defer cancel()
	a := history.Answer{Call: call.ID}
	var err error
	switch call.Op {
	case history.Enqueue:
		a.IDs, a.Existed, err = c.enqueue(ctx, call.Plans)
	case history.EnqueueTx:
		a.IDs, a.Existed, err = c.enqueueTx(ctx, call)
	case history.Cancel:
		err = c.tasks.Cancel(ctx, call.TaskID)
	case history.Retry:
		err = c.tasks.Retry(ctx, call.TaskID, nil)
	case history.Interrupt:
		err = c.tasks.Interrupt(ctx, call.TaskID)
	case history.Delete:
		err = c.tasks.Delete(ctx, call.TaskID)
	case history.Pause:
		err = c.tasks.Pause(ctx, call.Queue, nil)
	case history.Resume:
		err = c.tasks.Resume(ctx, call.Queue)
	case history.PauseSchedule:
		err = c.tasks.PauseSchedule(ctx, call.Schedule)
	case history.CancelAll, history.RetryAll, history.DeleteAll:
		a.Spared, err = c.commandAll(ctx, call)
	default:
		err = refused{fmt.Errorf("%q is no operation that this client knows", call.Op)}
	}
	if a.Outcome = outcomeOf(err); err != nil {
		a.Error = err.Error()
		a.IDs, a.Existed = nil, nil
	}
	return a
}

// refused marks an error after which certainly nothing was executed.
type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

// outcomeOf returns what is known after an error.
func outcomeOf(err error) history.Outcome {
	if err == nil {
		return history.Done
	}
	if _, ok := errors.AsType[refused](err); ok {
		return history.Refused
	}
	for _, no := range []error{task.ErrInvalid, task.ErrIDConflict, task.ErrNotFound, task.ErrKeyBusy, task.ErrRunning, task.ErrNotRunning, task.ErrNotEnded, task.ErrAlreadyFinished} {
		if errors.Is(err, no) {
			return history.Refused
		}
	}
	return history.Unknown
}

// prepare turns plans into tasks. They have their ids from here on.
func prepare(plans []history.Plan) ([]task.NewTask, error) {
	tasks := make([]task.NewTask, len(plans))
	for i, p := range plans {
		payload, err := json.Marshal(p)
		if err != nil {
			return nil, err
		}
		opt := task.EnqueueOptions{ID: p.ID, Queue: p.Queue, Key: p.Key, Priority: p.Priority, Delay: time.Duration(p.DelayMS) * time.Millisecond,
			StartBefore: time.Duration(p.StartBeforeMS) * time.Millisecond}
		if tasks[i], err = task.Prepare(p.Kind, payload, &opt); err != nil {
			return nil, err
		}
	}
	return tasks, nil
}

// enqueue enqueues tasks. As the documentation of EnqueueMany recommends, it repeats the call with
// the same tasks until there is an answer or its time is up. In the latter case the outcome is
// unknown.
func (c *client) enqueue(ctx context.Context, plans []history.Plan) ([]string, []bool, error) {
	tasks, err := prepare(plans)
	if err != nil {
		return nil, nil, err
	}
	for {
		done, err := c.tasks.EnqueueMany(ctx, tasks)
		if err == nil {
			ids, existed := answered(tasks, done)
			return ids, existed, nil
		}
		if errors.Is(err, task.ErrInvalid) || errors.Is(err, task.ErrIDConflict) {
			return nil, nil, err
		}
		if !wire.Pause(ctx, 200*time.Millisecond) {
			return nil, nil, fmt.Errorf("no answer in time, the last error was: %v", err) //nolint:errorlint // not to be taken for ErrKeyBusy: others of the call may be there
		}
	}
}

// answered returns the ids of an enqueue, and which of the tasks existed before. A returned id that
// differs from the requested one is that of a task which holds the key.
func answered(asked []task.NewTask, done []task.EnqueueResult) (ids []string, existed []bool) {
	for i, d := range done {
		ids = append(ids, d.ID)
		existed = append(existed, d.Outcome == task.OutcomeExisting && d.ID != asked[i].ID)
	}
	return ids, existed
}

// enqueueTx enqueues together with rows of the service's own, and commits or rolls back. Before the
// commit certainly nothing has been executed.
func (c *client) enqueueTx(ctx context.Context, call history.Call) (ids []string, existed []bool, err error) {
	if c.db == nil {
		return nil, nil, refused{errNoTx}
	}
	tasks, err := prepare(call.Plans)
	if err != nil {
		return nil, nil, refused{err}
	}
	tx, err := c.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return nil, nil, refused{err}
	}
	defer tx.Rollback() // after a commit it does nothing
	done, err := c.tasks.WithTx(pgstore.SQLTx(tx)).EnqueueMany(ctx, tasks)
	if err != nil {
		return nil, nil, refused{err}
	}
	ids, existed = answered(tasks, done)
	for i, p := range call.Plans {
		if existed[i] {
			continue
		}
		if _, err := tx.ExecContext(ctx, `insert into chaos_enqueued (seq, task) values ($1, $2)`, p.Seq, ids[i]); err != nil {
			return nil, nil, refused{err}
		}
	}
	if !call.Commit {
		_ = tx.Rollback() // what has not been committed does not exist, whatever the answer is
		return ids, existed, nil
	}
	if err := tx.Commit(); err != nil {
		// It was rolled back.
		if answer, ok := errors.AsType[*pgconn.PgError](err); ok && strings.HasPrefix(answer.Code, "40") {
			err = refused{err}
		}
		return nil, nil, err
	}
	c.tasks.Wake()
	return ids, existed, nil
}
