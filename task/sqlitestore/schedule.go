package sqlitestore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// PutSchedules implements task.Store.
func (s *Store) PutSchedules(ctx context.Context, put task.SchedulesPut) (set task.ScheduleSet, err error) {
	err = s.inTx(ctx, func(t *txn) (err error) {
		if set, err = t.scheduleSet(put.Name); err != nil || set.Generation != put.Was {
			return err
		}
		if err := t.putSchedules(put, s.now().UnixMicro()); err != nil {
			return err
		}
		set, err = t.scheduleSet(put.Name)
		return err
	})
	return set, err
}

func (t *txn) putSchedules(put task.SchedulesPut, now int64) error {
	former, err := list(put.Former)
	if err != nil {
		return err
	}
	if _, err := t.exec("PutScheduleSet", put.Name, put.Generation, put.Revision, put.Digest, former, put.Salt, now); err != nil {
		return err
	}
	for name, formerly := range put.Renamed {
		if _, err := t.exec("RenameSchedule", put.Name, formerly, name); err != nil {
			return err
		}
	}
	var (
		rows  []any
		names []string
	)
	for _, r := range put.Schedules {
		rows = append(rows, put.Name, r.Name, r.Timing, r.Words, blob(r.Template), timeColumn(r.Next), timeColumn(r.Next))
		names = append(names, r.Name)
	}
	if err := t.rows("PutSchedules", rows); err != nil {
		return err
	}
	all, err := list(names)
	if err == nil {
		_, err = t.exec("RemoveSchedules", put.Name, all)
	}
	return err
}

// timeColumn returns a time as a column, null for the zero time.
func timeColumn(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// scheduleSet reads a set, which may not exist.
func (t *txn) scheduleSet(name string) (task.ScheduleSet, error) {
	return scheduleSet(context.Background(), t, name)
}

func scheduleSet(ctx context.Context, q queryer, name string) (set task.ScheduleSet, err error) {
	var former string
	err = one(ctx, q, "ScheduleSet", []any{name}, &set.Generation, &set.Revision, &set.Digest, &former, &set.Salt, &set.Beats)
	if errors.Is(err, sql.ErrNoRows) {
		return task.ScheduleSet{}, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(former), &set.Former)
	}
	set.Name = name
	return set, err
}

// Schedules implements task.Store.
func (s *Store) Schedules(ctx context.Context, q task.ScheduleQuery) (found []task.StoredSchedule, err error) {
	last := cmp.Or(q.Set, "\U0010FFFF")
	if q.AfterSet < q.Set {
		q.AfterSet, q.AfterName = q.Set, ""
	}
	args := []any{q.AfterSet, q.AfterName, last, q.Name, cmp.Or(q.Limit, 100)}
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	err = each(ctx, s.reader, "Schedules", args, func(rows *sql.Rows) error {
		var (
			one            task.StoredSchedule
			tick, lastTick sql.NullInt64
		)
		err := rows.Scan(&one.Set, &one.Name, &one.Timing, &one.Words, &one.Template, &tick, &one.Paused, &lastTick, &one.LastTask)
		one.Next, one.Last = at(tick.Int64), at(lastTick.Int64)
		found = append(found, one)
		return err
	})
	return found, s.wrap(ctx, err)
}

// behind returns the store's clock, or the caller's if that is behind.
func (s *Store) behind(clock time.Time) time.Time {
	now := s.now()
	if !clock.IsZero() && clock.Before(now) {
		return clock
	}
	return now
}

// DueSchedules implements task.Store.
func (s *Store) DueSchedules(ctx context.Context, req task.DueRequest) (task.DueReply, error) {
	if req.Alive {
		err := s.inTx(ctx, func(t *txn) error {
			_, err := t.exec("HearSchedules", req.Set, req.Generation, s.now().UnixMicro())
			return err
		})
		if err != nil {
			return task.DueReply{}, err
		}
	}
	if err := s.usable(ctx); err != nil {
		return task.DueReply{}, err
	}
	reply, err := s.dueSchedules(ctx, req)
	return reply, s.wrap(ctx, err)
}

func (s *Store) dueSchedules(ctx context.Context, req task.DueRequest) (reply task.DueReply, err error) {
	reply.Now, reply.Wait = s.behind(req.Clock), -1
	if reply.Set, err = scheduleSet(ctx, s.reader, req.Set); err != nil {
		return reply, err
	}
	err = each(ctx, s.reader, "DueSchedules", []any{req.Set, req.Generation, req.Max + 1}, func(rows *sql.Rows) error {
		var (
			d         task.DueSchedule
			tick, due int64
		)
		err := rows.Scan(&d.Name, &tick, &due, &d.Paused)
		switch {
		case err != nil || reply.Wait >= 0: // read the remaining rows
		case at(due).After(reply.Now) || len(reply.Due) == req.Max:
			reply.Wait = max(0, at(due).Sub(reply.Now))
		default:
			d.Tick, d.Held = at(tick), due > tick
			reply.Due = append(reply.Due, d)
		}
		return err
	})
	return reply, err
}

// Tick implements task.Store.
func (s *Store) Tick(ctx context.Context, req task.TickRequest) (results []task.TickResult, err error) {
	err = s.inTx(ctx, func(t *txn) error {
		results = make([]task.TickResult, len(req.Ticks))
		if req.Generation != "" {
			set, err := t.scheduleSet(req.Set)
			if err != nil || set.Generation != req.Generation {
				return err
			}
		}
		if err := t.expireAll(s.now().UnixMicro()); err != nil { // a last task may have expired
			return err
		}
		now := s.behind(req.Clock)
		var adds []*adding
		for i := range req.Ticks {
			add, err := t.tick(req.Set, &req.Ticks[i], &results[i], now)
			if err != nil {
				return err
			}
			adds = append(adds, add)
		}
		if err := s.addAll(t, slices.DeleteFunc(slices.Clone(adds), func(a *adding) bool { return a == nil })); err != nil {
			return err
		}
		for i, add := range adds {
			if add == nil {
				continue
			}
			for _, a := range add.added {
				if a.Outcome == task.OutcomeAdded && !a.Conflict {
					results[i].Added++
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// tick sets a schedule's next tick, and returns the tasks that are to be added with it.
func (t *txn) tick(set string, tick *task.Tick, r *task.TickResult, now time.Time) (*adding, error) {
	var (
		paused     bool
		at         int64
		unfinished string
	)
	err := one(context.Background(), t, "ScheduleToTick", []any{set, tick.Name}, &paused, &at, &unfinished)
	asked := tick.At.IsZero()
	if errors.Is(err, sql.ErrNoRows) || err == nil && !asked && at != tick.At.UnixMicro() {
		return nil, nil // another process was faster
	}
	if err != nil {
		return nil, err
	}
	var (
		add      *adding
		lastTask string
		last     any
	)
	switch {
	case paused && !asked:
	case tick.Alone && unfinished != "":
		r.Unfinished = unfinished
		if asked {
			return nil, nil
		}
		if tick.Hold > 0 {
			_, err := t.exec("SetTick", set, tick.Name, at, now.Add(tick.Hold).UnixMicro(), nil, "")
			return nil, err
		}
	case len(tick.Tasks) > 0:
		add = &adding{tasks: tick.Tasks, added: make([]task.AddResult, len(tick.Tasks))}
		last, lastTask = at, tick.Tasks[len(tick.Tasks)-1].ID
	}
	if r.Made = true; asked {
		_, err = t.exec("SetLastTask", set, tick.Name, lastTask)
		return add, err
	}
	_, err = t.exec("SetTick", set, tick.Name, timeColumn(tick.Next), timeColumn(tick.Next), last, lastTask)
	return add, err
}

// steerSchedule pauses or resumes a schedule.
func (t *txn) steerSchedule(cmd task.Command) error {
	set, name, _ := strings.Cut(cmd.Schedule, "/")
	n, err := t.exec("PauseSchedule", set, name, cmd.Verb == task.VerbPause)
	if err == nil && n == 0 {
		err = task.ErrNotFound
	}
	return err
}
