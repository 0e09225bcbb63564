package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// lane is a queue and a kind.
type lane struct{ kind, queue string }

// lanes remembers the numbers of lanes, as they have been seen committed. They are never given to
// another lane.
type lanes struct {
	mu     sync.Mutex
	number map[lane]int64
	of     map[int64]lane
}

// committed remembers lanes that are in a transaction that has been committed.
func (l *lanes) committed(seen map[lane]int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for lane, n := range seen {
		l.number[lane], l.of[n] = n, lane
	}
}

// numberOf returns a lane's number, and makes one for a new lane. It is not remembered from here:
// the transaction may yet be undone.
func (s *Store) numberOf(t *txn, l lane) (n int64, err error) {
	s.lanes.mu.Lock()
	n, ok := s.lanes.number[l]
	s.lanes.mu.Unlock()
	if ok {
		return n, nil
	}
	err = t.QueryRowContext(context.Background(), `insert into lanes (kind, queue) values (?, ?)
		on conflict (kind, queue) do update set kind = kind returning n`, l.kind, l.queue).Scan(&n)
	return n, err
}

// byNumber returns the lane of a number.
func (s *Store) byNumber(ctx context.Context, q queryer, n int64) (l lane, err error) {
	s.lanes.mu.Lock()
	l, ok := s.lanes.of[n]
	s.lanes.mu.Unlock()
	if ok {
		return l, nil
	}
	err = q.QueryRowContext(ctx, `select kind, queue from lanes where n = ?`, n).Scan(&l.kind, &l.queue)
	return l, err
}

// openLanes lists the lanes of a claim and remembers all committed ones. The paused queues' are left
// out.
func (s *Store) openLanes(ctx context.Context, q queryer) (open map[lane]int64, err error) {
	rows, err := q.QueryContext(ctx, `select n, kind, queue, queue in (select queue from paused) from lanes`)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	open = make(map[lane]int64)
	for rows.Next() {
		var (
			n      int64
			l      lane
			paused bool
		)
		if err := rows.Scan(&n, &l.kind, &l.queue, &paused); err != nil {
			return nil, err
		}
		if !paused {
			open[l] = n
		}
		if _, inside := q.(*sql.DB); inside { // what the readers see is committed
			s.lanes.mu.Lock()
			s.lanes.number[l], s.lanes.of[n] = n, l
			s.lanes.mu.Unlock()
		}
	}
	return open, rows.Err()
}
