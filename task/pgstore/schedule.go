package pgstore

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// PutSchedules implements task.Store. A put locks the row of the set. A tick does not wait for
// that, and a tick of the generation before finds no schedule.
func (s *Store) PutSchedules(ctx context.Context, put task.SchedulesPut) (set task.ScheduleSet, err error) {
	err = s.once(ctx, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.putSchedules(ctx, tx, put) })
	})
	if err != nil {
		return set, err
	}
	err = s.again(ctx, func(ctx context.Context) (err error) {
		set, _, err = scanSet(put.Name, s.pool.QueryRow(ctx, s.q.ScheduleSet, put.Name, noClock))
		return err
	})
	return set, err
}

func (s *Store) putSchedules(ctx context.Context, tx pgx.Tx, put task.SchedulesPut) error {
	generation, err := mustID(put.Generation)
	if err != nil {
		return err
	}
	former := append([]string{}, put.Former...)
	sql, args := s.q.CreateScheduleSet, []any{put.Name, generation, put.Revision, put.Digest, former, put.Salt}
	if put.Was != "" {
		was, err := mustID(put.Was)
		if err != nil {
			return err
		}
		sql, args = s.q.ChangeScheduleSet, append(args, was)
	}
	if tag, err := tx.Exec(ctx, sql, args...); err != nil || tag.RowsAffected() == 0 {
		return err
	}
	n := len(put.Schedules)
	names, timings, words := make([]string, n), make([]string, n), make([]string, n)
	templates, ticks := make([][]byte, n), make([]*time.Time, n)
	for i, r := range put.Schedules {
		names[i], timings[i], words[i], templates[i], ticks[i] = r.Name, r.Timing, r.Words, r.Template, timeOrNull(r.Next)
	}
	var old, renamed []string
	for name, formerly := range put.Renamed {
		old, renamed = append(old, formerly), append(renamed, name)
	}
	var batch pgx.Batch
	if len(old) > 0 {
		batch.Queue(s.q.RenameSchedules, put.Name, old, renamed)
	}
	batch.Queue(s.q.PutSchedules, put.Name, generation, names, timings, words, templates, ticks)
	batch.Queue(s.q.RemoveSchedules, put.Name, generation)
	return tx.SendBatch(ctx, &batch).Close()
}

// timeOrNull is the reverse of timeOrZero.
func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// scanSet reads a set, which may not exist, and the time that counts.
func scanSet(name string, row pgx.Row) (set task.ScheduleSet, now time.Time, err error) {
	var (
		generation   *[16]byte
		revision     *int64
		digest, salt *string
		beats        *int64
	)
	if err := row.Scan(&generation, &revision, &digest, &set.Former, &salt, &beats, &now); err != nil || generation == nil {
		return task.ScheduleSet{}, now, err
	}
	set.Name, set.Generation, set.Revision, set.Digest, set.Salt = name, storekit.FormatID(*generation), *revision, *digest, *salt
	set.Beats = *beats
	return set, now, nil
}

// Schedules implements task.Store.
func (s *Store) Schedules(ctx context.Context, q task.ScheduleQuery) (found []task.StoredSchedule, err error) {
	last := cmp.Or(q.Set, "\U0010FFFF")
	if q.AfterSet < q.Set {
		q.AfterSet, q.AfterName = q.Set, ""
	}
	err = s.again(ctx, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, s.q.Schedules, q.AfterSet, q.AfterName, last, q.Name, int64(cmp.Or(q.Limit, 100)))
		if err != nil {
			return err
		}
		found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (one task.StoredSchedule, err error) {
			var (
				tick, lastTick *time.Time
				lastTask       *[16]byte
			)
			err = row.Scan(&one.Set, &one.Name, &one.Timing, &one.Words, &one.Template, &tick, &one.Paused, &lastTick, &lastTask)
			one.Next, one.Last = timeOrZero(tick), timeOrZero(lastTick)
			if lastTask != nil {
				one.LastTask = storekit.FormatID(*lastTask)
			}
			return one, err
		})
		return err
	})
	return found, err
}

// DueSchedules implements task.Store.
func (s *Store) DueSchedules(ctx context.Context, req task.DueRequest) (reply task.DueReply, err error) {
	clock := req.Clock
	if clock.IsZero() {
		clock = noClock
	}
	var generation *[16]byte // null: no schedule has it
	if id, ok := storekit.ParseID(req.Generation); ok {
		generation = &id
	}
	err = s.again(ctx, func(ctx context.Context) error {
		reply = task.DueReply{Wait: -1}
		var batch pgx.Batch
		if req.Alive && generation != nil {
			batch.Queue(s.q.HearSchedules, req.Set, generation)
		}
		batch.Queue(s.q.ScheduleSet, req.Set, clock).QueryRow(func(row pgx.Row) (err error) {
			reply.Set, reply.Now, err = scanSet(req.Set, row)
			return err
		})
		batch.Queue(s.q.DueSchedules, req.Set, generation, int64(req.Max)+1).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				var (
					d   task.DueSchedule
					due time.Time
				)
				if err := rows.Scan(&d.Name, &d.Tick, &due, &d.Paused); err != nil {
					return err
				}
				if reply.Wait >= 0 {
					continue // read the remaining rows
				}
				if due.After(reply.Now) || len(reply.Due) == req.Max {
					reply.Wait = max(0, due.Sub(reply.Now))
					continue
				}
				d.Held = due.After(d.Tick)
				reply.Due = append(reply.Due, d)
			}
			return rows.Err()
		})
		return s.pool.SendBatch(ctx, &batch).Close()
	})
	return reply, err
}

// Tick implements task.Store.
func (s *Store) Tick(ctx context.Context, req task.TickRequest) (results []task.TickResult, err error) {
	// The last task may have expired.
	if slices.ContainsFunc(req.Ticks, func(t task.Tick) bool { return t.Alone }) {
		if err := s.expireDue(ctx, expireEvery); err != nil {
			return nil, err
		}
	}
	first := int64(everything)
	err = s.once(ctx, func(ctx context.Context) error {
		results = make([]task.TickResult, len(req.Ticks))
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			made, err := s.tick(ctx, tx, req, results)
			first = firstPriority(made)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	for _, r := range results {
		if r.Added > 0 {
			s.claimable(first)
			break
		}
	}
	return results, nil
}

// tick makes ticks in a transaction, and returns the tasks that were to be added.
func (s *Store) tick(ctx context.Context, tx pgx.Tx, req task.TickRequest, results []task.TickResult) ([]task.NewTask, error) {
	held, err := s.lockSchedules(ctx, tx, req)
	if err != nil || len(held) == 0 {
		return nil, err
	}
	var (
		tasks  []task.NewTask
		places []int // of the ticks that the tasks belong to
	)
	for i, t := range req.Ticks {
		row, ok := held[t.Name]
		if !ok || row.paused && !t.At.IsZero() {
			continue
		}
		if t.Alone && row.unfinished != "" {
			results[i].Unfinished = row.unfinished
			continue
		}
		for _, n := range t.Tasks {
			tasks, places = append(tasks, n), append(places, i)
		}
	}
	busy := make(map[int]bool)
	if len(tasks) > 0 {
		news, err := newTasks(tasks)
		if err != nil {
			return nil, err
		}
		var answer addAnswer
		added := make([]task.AddResult, len(tasks))
		if err := tx.QueryRow(ctx, s.q.Add, addArgs(news)...).Scan(answer.columns()...); err != nil {
			return nil, err
		}
		answer.fill(news, added)
		for n, a := range added {
			switch {
			case a.Busy:
				busy[places[n]] = true
			case a.Outcome == task.OutcomeAdded && !a.Conflict:
				results[places[n]].Added++
			}
		}
	}
	return tasks, s.setTicks(ctx, tx, req, held, busy, results)
}

// heldSchedule is a schedule that a tick has locked.
type heldSchedule struct {
	paused bool
	last   *[16]byte // its last task
	// Its last task, if that has not ended and the schedule allows one task at a time.
	unfinished string
}

// lockSchedules locks the schedules whose next ticks are those of a request.
func (s *Store) lockSchedules(ctx context.Context, tx pgx.Tx, req task.TickRequest) (map[string]heldSchedule, error) {
	names, ats := make([]string, len(req.Ticks)), make([]*time.Time, len(req.Ticks))
	for i, t := range req.Ticks {
		names[i], ats[i] = t.Name, timeOrNull(t.At)
	}
	var generation *[16]byte
	if req.Generation != "" {
		id, err := mustID(req.Generation)
		if err != nil {
			return nil, err
		}
		generation = &id
	}
	rows, err := tx.Query(ctx, s.q.LockSchedules, req.Set, generation, names, ats)
	if err != nil {
		return nil, err
	}
	held := make(map[string]heldSchedule)
	var (
		name   string
		paused bool
		last   *[16]byte
	)
	_, err = pgx.ForEachRow(rows, []any{&name, &paused, &last}, func() error {
		held[name] = heldSchedule{paused: paused, last: last}
		return nil
	})
	if err == nil {
		err = s.unfinished(ctx, tx, req, held)
	}
	return held, err
}

// unfinished finds out whether the last tasks have ended, for schedules that allow one task at a
// time.
func (s *Store) unfinished(ctx context.Context, tx pgx.Tx, req task.TickRequest, held map[string]heldSchedule) error {
	var last [][16]byte
	for _, t := range req.Ticks {
		if id := held[t.Name].last; t.Alone && id != nil {
			last = append(last, *id)
		}
	}
	if len(last) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, s.q.Unfinished, last)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
	for name, one := range held {
		if one.last != nil && slices.Contains(found, *one.last) {
			one.unfinished = storekit.FormatID(*one.last)
			held[name] = one
		}
	}
	return err
}

// setTicks sets the next ticks of the schedules, and reports which ticks were made.
func (s *Store) setTicks(ctx context.Context, tx pgx.Tx, req task.TickRequest, held map[string]heldSchedule, busy map[int]bool, results []task.TickResult) error {
	clock := req.Clock
	if clock.IsZero() {
		clock = noClock
	}
	var (
		batch       pgx.Batch
		names       []string
		ticks, last []*time.Time
		holds       []*int64
		lastTasks   []*[16]byte
	)
	for i, t := range req.Ticks {
		row, ok := held[t.Name]
		if !ok || busy[i] {
			continue
		}
		asked, unfinished := t.At.IsZero(), results[i].Unfinished != ""
		var lastTask *[16]byte
		if len(t.Tasks) > 0 && !unfinished && (asked || !row.paused) {
			id, err := mustID(t.Tasks[len(t.Tasks)-1].ID)
			if err != nil {
				return err
			}
			lastTask = &id
		}
		if asked {
			if results[i].Made = !unfinished; lastTask != nil {
				batch.Queue(s.q.SetLastTask, req.Set, t.Name, lastTask)
			}
			continue
		}
		tick, at, hold := t.Next, t.At, (*int64)(nil)
		if unfinished && t.Hold > 0 {
			micros := t.Hold.Microseconds()
			tick, hold = t.At, &micros
		}
		if results[i].Made = hold == nil; lastTask == nil {
			at = time.Time{}
		}
		names, ticks, holds, last, lastTasks = append(names, t.Name), append(ticks, timeOrNull(tick)), append(holds, hold), append(last, timeOrNull(at)), append(lastTasks, lastTask)
	}
	if len(names) > 0 {
		batch.Queue(s.q.SetTicks, req.Set, clock, names, ticks, holds, last, lastTasks)
	}
	if batch.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, &batch).Close()
}

// steerSchedule pauses or resumes a schedule. No tick that begins after a pause makes a task.
func (s *Store) steerSchedule(ctx context.Context, cmd task.Command) error {
	set, name, _ := strings.Cut(cmd.Schedule, "/")
	var n int
	err := s.commandRow(ctx, s.q.PauseSchedule, []any{set, name, cmd.Verb == task.VerbPause}, &n)
	if err == nil && n == 0 {
		err = task.ErrNotFound
	}
	return err
}
