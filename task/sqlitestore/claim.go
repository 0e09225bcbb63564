package sqlitestore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// maxPromoted bounds the tasks that one claim promotes.
const maxPromoted = 1000

// candidate is a task that a claim may take.
type candidate struct {
	task, priority, runAt int64
	id                    string
	interrupted, suspect  bool
	kind                  int // its place in the request
}

// order compares two candidates in the order of claims.
func order(a, b candidate) int {
	return cmp.Or(cmp.Compare(b.priority, a.priority), compareBool(b.interrupted, a.interrupted),
		cmp.Compare(a.runAt, b.runAt), cmp.Compare(a.id, b.id))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Claim implements task.Store. It looks for tasks without a write transaction first: an idle worker
// writes nothing.
func (s *Store) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	s.expire(ctx)
	something, err := s.somethingToClaim(ctx, req)
	if err == nil && !something {
		_, err = claiming(ctx, s.reader, req.Worker)
	}
	if err != nil || !something {
		return nil, s.wrap(ctx, err)
	}
	var got []task.Task
	err = s.inTx(ctx, func(t *txn) (err error) {
		got, err = s.claim(t, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	return got, nil
}

// somethingToClaim reports whether there is a task to claim, or a delay is over.
func (s *Store) somethingToClaim(ctx context.Context, req task.ClaimRequest) (bool, error) {
	req.Max = min(req.Max, 1)
	found, err := candidates(ctx, s.reader, req)
	if err != nil || len(found) > 0 {
		return err == nil, err
	}
	due := false
	err = one(ctx, s.reader, "DelayIsOver", []any{s.now().UnixMicro()}, &due)
	return due, err
}

func (s *Store) claim(t *txn, req task.ClaimRequest) ([]task.Task, error) {
	// The clock is read now, and not when the claim began to wait for its turn: otherwise a run that
	// ended in between would seem to have ended after the next one began.
	now := s.now()
	w, err := claiming(context.Background(), t, req.Worker)
	if err != nil {
		return nil, err
	}
	if err := t.expireAll(now.UnixMicro()); err != nil {
		return nil, err
	}
	promoted, err := t.exec("Promote", now.UnixMicro(), maxPromoted)
	if err != nil {
		return nil, err
	}
	t.news = t.news || promoted > 0 // other workers may serve some of them
	chosen, err := candidates(context.Background(), t, req)
	if err != nil || len(chosen) == 0 {
		return nil, err
	}
	return t.beginRuns(chosen, w, now, req)
}

// claimer is the worker that claims.
type claimer struct {
	host string
	pid  int64
}

// claiming returns the worker that claims, or ErrWorkerGone if it may not claim.
func claiming(ctx context.Context, q queryer, worker string) (w claimer, err error) {
	err = one(ctx, q, "ClaimingWorker", []any{worker}, &w.host, &w.pid)
	if errors.Is(err, sql.ErrNoRows) {
		err = task.ErrWorkerGone
	}
	return w, err
}

// candidates returns the tasks that a claim takes, in the order of claims.
func candidates(ctx context.Context, q queryer, req task.ClaimRequest) ([]candidate, error) {
	paused, err := texts(ctx, q, "PausedQueues")
	if err != nil {
		return nil, err
	}
	var all []candidate
	for i, k := range req.Kinds {
		most := min(k.Max, req.Max)
		if most <= 0 {
			continue
		}
		plain := first{q: q, kind: i, most: most, except: req.Except, least: req.MinPriority}
		if req.Interrupted {
			err = plain.readInterrupted(ctx, k.Kind, req)
		} else {
			err = plain.read(ctx, k.Kind, req.Queues, paused)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, plain.found...)
		if req.Suspects <= 0 || req.Interrupted {
			continue
		}
		suspects := first{q: q, kind: i, suspect: true, most: 1, except: req.Except, least: req.MinPriority}
		if req.Suspicion != 0 {
			suspects.most = min(most, req.Suspects)
			err = suspects.readGroup(ctx, k.Kind, req)
		} else {
			err = suspects.read(ctx, k.Kind, req.Queues, paused)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, suspects.found...)
	}
	slices.SortFunc(all, order)
	return cut(all, req), nil
}

func texts(ctx context.Context, q queryer, name string, args ...any) (all []string, err error) {
	err = each(ctx, q, name, args, func(rows *sql.Rows) error {
		var text string
		err := rows.Scan(&text)
		all = append(all, text)
		return err
	})
	return all, err
}

// first collects the first candidates of a kind, in the order of claims.
type first struct {
	q       queryer
	kind    int
	suspect bool
	most    int
	except  []string
	least   *int        // the lowest priority, nil for any
	found   []candidate // sorted
}

// read reads the candidates of a kind: from all queues at once, or from each queue that is wanted
// and not paused. While some queues are paused, the queues with the most urgent first tasks are
// enough, as many as tasks are wanted.
func (f *first) read(ctx context.Context, kind string, wanted, paused []string) (err error) {
	limit := f.most + len(f.except)
	if len(wanted) == 0 && len(paused) == 0 {
		return f.readOne(ctx, "ReadyOfKind", kind, f.suspect, limit)
	}
	if len(wanted) == 0 {
		if wanted, err = texts(ctx, f.q, "FirstQueues", kind, f.suspect, limit); err != nil {
			return err
		}
	}
	for _, queue := range wanted {
		if slices.Contains(paused, queue) {
			continue
		}
		if err := f.readOne(ctx, "ReadyOfQueue", kind, f.suspect, limit, queue); err != nil {
			return err
		}
	}
	return nil
}

// readInterrupted reads the interrupted candidates of a kind.
func (f *first) readInterrupted(ctx context.Context, kind string, req task.ClaimRequest) error {
	queues, err := list(req.Queues)
	if err != nil {
		return err
	}
	return f.readOne(ctx, "InterruptedOfKind", kind, f.most+len(f.except), queues)
}

// readGroup reads the candidates of a kind in the claim's group of suspects.
func (f *first) readGroup(ctx context.Context, kind string, req task.ClaimRequest) error {
	queues, err := list(req.Queues)
	if err != nil {
		return err
	}
	return f.readOne(ctx, "ReadyOfGroup", req.Suspicion, kind, f.most+len(f.except), queues)
}

func (f *first) readOne(ctx context.Context, name string, args ...any) (err error) {
	rows, err := f.q.query(ctx, name, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		c := candidate{kind: f.kind, suspect: f.suspect}
		if err := rows.Scan(&c.task, &c.id, &c.priority, &c.interrupted, &c.runAt); err != nil {
			return err
		}
		if f.least != nil && c.priority < int64(*f.least) {
			break // and so do all that follow
		}
		if slices.Contains(f.except, c.id) {
			continue
		}
		at, _ := slices.BinarySearchFunc(f.found, c, order)
		if at == f.most {
			break // enough candidates come before it, and before all that follow
		}
		f.found = slices.Insert(f.found, at, c)
		f.found = f.found[:min(len(f.found), f.most)]
	}
	return rows.Err()
}

// cut keeps the tasks that a claim may take: so many of each kind, so many in all, and so many
// suspects.
func cut(all []candidate, req task.ClaimRequest) []candidate {
	taken := make([]int, len(req.Kinds))
	suspects := req.Suspects
	if req.Suspicion == 0 {
		suspects = min(suspects, 1)
	}
	kept := all[:0]
	for _, c := range all {
		if len(kept) >= req.Max || taken[c.kind] >= req.Kinds[c.kind].Max || c.suspect && suspects <= 0 {
			continue
		}
		taken[c.kind]++
		if c.suspect {
			suspects--
		}
		kept = append(kept, c)
	}
	return kept
}

// beginRuns moves tasks from waiting to running, and returns them in the same order.
func (t *txn) beginRuns(chosen []candidate, w claimer, now time.Time, req task.ClaimRequest) ([]task.Task, error) {
	all := make([]int64, len(chosen))
	of := make([][]int64, len(req.Kinds))
	place := make(map[string]int, len(chosen))
	for i, c := range chosen {
		all[i], place[c.id] = c.task, i
		of[c.kind] = append(of[c.kind], c.task)
	}
	for i, tasks := range of {
		if len(tasks) == 0 {
			continue
		}
		arg, err := list(tasks)
		if err != nil {
			return nil, err
		}
		limits := req.Kinds[i].Limits
		n, err := t.exec("BeginRuns", arg, now.UnixMilli(), req.Worker, w.host, w.pid, now.UnixMicro(),
			limits.MaxAttempts, limits.MaxCrashes, limits.MaxInterruptions, formatKeep(req.Kinds[i].Retention))
		if err == nil && int(n) != len(tasks) {
			err = fmt.Errorf("a claim began %d runs instead of %d: was the database changed by hand?", n, len(tasks))
		}
		if err != nil {
			return nil, err
		}
	}
	arg, err := list(all)
	if err != nil {
		return nil, err
	}
	got, err := runningTasks(t, slices.Grow(req.Into[:0], len(chosen)), "RunningTasksOfNumbers", arg)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(got, func(a, b task.Task) int { return cmp.Compare(place[a.ID], place[b.ID]) })
	return got, t.execList("EndWaits", all)
}
