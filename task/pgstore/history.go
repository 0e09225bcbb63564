package pgstore

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// History implements task.Store.
func (s *Store) History(ctx context.Context, id string) ([]task.RunRecord, error) {
	var runs []task.RunRecord
	err := s.again(ctx, func(ctx context.Context) error {
		key, ok := storekit.ParseID(id)
		if !ok {
			return task.ErrNotFound
		}
		rows, err := s.pool.Query(ctx, s.q.History, key)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, scanRun)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return task.ErrNotFound
		}
		runs = all[:len(all)-1] // the last row is there for a task without runs
		runs = runs[max(0, len(runs)-task.MaxHistory):]
		return nil
	})
	if err != nil {
		return nil, err
	}
	return runs, nil
}

func scanRun(row pgx.CollectableRow) (r task.RunRecord, err error) {
	var (
		run                *int64
		started, ended     *time.Time
		crashed, reclaimed bool
	)
	err = row.Scan(&run, &r.Worker, &r.Host, &r.PID, &started, &ended, &r.Status, &r.Reason, &r.Error, &crashed, &reclaimed)
	if run != nil {
		r.Run = *run
	}
	r.Started, r.Ended, r.Crashed, r.Reclaimed = timeOrZero(started), timeOrZero(ended), crashed, reclaimed
	return r, err
}

// Steps implements task.Store.
func (s *Store) Steps(ctx context.Context, id string) ([]task.StepRecord, error) {
	var steps []task.StepRecord
	err := s.again(ctx, func(ctx context.Context) error {
		key, ok := storekit.ParseID(id)
		if !ok {
			return task.ErrNotFound
		}
		rows, err := s.pool.Query(ctx, s.q.Steps, key)
		if err != nil {
			return err
		}
		steps, err = pgx.CollectRows(rows, scanStep)
		if err == nil && len(steps) == 0 {
			return task.ErrNotFound
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(steps, func(s task.StepRecord) bool { return s.Name == "" }), nil
}

func scanStep(row pgx.CollectableRow) (s task.StepRecord, err error) {
	var (
		name, state *string
		run         *int64
		saved       *time.Time
	)
	err = row.Scan(&name, &state, &s.Place, &s.Version, &s.Body, &run, &saved)
	if name != nil && state != nil && run != nil {
		s.Name, s.State, s.Run, s.Saved = *name, task.StepState(*state), *run, timeOrZero(saved)
	}
	return s, err
}

// Log implements task.Store.
func (s *Store) Log(ctx context.Context, id string) ([]byte, error) {
	var body []byte
	err := s.again(ctx, func(ctx context.Context) error {
		key, ok := storekit.ParseID(id)
		if !ok {
			return task.ErrNotFound
		}
		err := s.pool.QueryRow(ctx, s.q.Log, key).Scan(&body)
		if noRows(err) {
			return task.ErrNotFound
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return body[max(0, len(body)-task.MaxLog):], nil
}
