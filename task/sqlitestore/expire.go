package sqlitestore

import (
	"context"
	"database/sql"

	"github.com/lastcall-go/lastcall/task"
)

// expireMost bounds the expired tasks that one transaction ends if it does nothing else.
const expireMost = 1000

// expire ends the tasks that were not claimed in time. Calls that read tasks call it first; without
// such tasks it costs a step in an index. If the tasks cannot be ended now, a later call does that:
// reading still works when the disk is full.
func (s *Store) expire(ctx context.Context) {
	for more := true; more; {
		if err := one(ctx, s.reader, "HasExpired", []any{s.now().UnixMicro()}, &more); err != nil || !more {
			return
		}
		err := s.inTx(ctx, func(t *txn) error {
			_, err := t.expire(s.now().UnixMicro(), expireMost)
			return err
		})
		if err != nil {
			return
		}
	}
}

// expireAll ends all tasks that were not claimed in time.
func (t *txn) expireAll(now int64) error {
	for {
		more := false
		if err := one(context.Background(), t, "HasExpired", []any{now}, &more); err != nil || !more {
			return err
		}
		if _, err := t.expire(now, expireMost); err != nil {
			return err
		}
	}
}

// expire ends tasks that were not claimed in time, those first whose time was over first, and
// returns how many.
func (t *txn) expire(now int64, most int) (int, error) {
	var late []int64
	more := make(counts)
	err := each(context.Background(), t, "ExpiredFirst", []any{now, most}, func(rows *sql.Rows) error {
		var (
			number int64
			c      task.Count
		)
		err := rows.Scan(&number, &c.Kind, &c.Queue)
		late = append(late, number)
		more.add(c.Queue, c.Kind, task.StatusCancelled, 1)
		return err
	})
	if err != nil || len(late) == 0 {
		return 0, err
	}
	if _, err := t.endWaiting(late, now, task.ReasonExpired); err != nil {
		return 0, err
	}
	return len(late), t.rows("CountEnded", more.rows())
}
