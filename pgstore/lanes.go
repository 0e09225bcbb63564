package pgstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/jackc/pgx/v5"
)

// lane is a queue and a kind.
type lane struct{ kind, queue string }

// lanes remembers the numbers of lanes. They are never given to another lane.
type lanes struct {
	mu     sync.Mutex
	number map[lane]int32
	of     map[int32]lane
	top    int32 // the highest number when all were read
}

const (
	lanesSQL = `select n, kind, queue from @.lanes`
	laneSQL  = `select n from @.lanes where kind = $1 and queue = $2`
	// The update does nothing but make the row one that is returned. The lock makes numbers become visible in
	// their order: who has seen one has seen those below it, and need look only for higher ones.
	makeLaneSQL = `insert into @.lanes (kind, queue) select $1, $2 from pg_advisory_xact_lock('@.'::regnamespace::oid::integer, -1)
		on conflict (kind, queue) do update set kind = excluded.kind returning n`
)

// numberOf returns a lane's number, and makes one for a new lane, in a transaction of its own.
func (s *Store) numberOf(ctx context.Context, l lane) (int32, error) {
	s.lanes.mu.Lock()
	n, ok := s.lanes.number[l]
	s.lanes.mu.Unlock()
	if ok {
		return n, nil
	}
	if err := s.readLanes(ctx); err != nil {
		return 0, err
	}
	s.lanes.mu.Lock()
	n, ok = s.lanes.number[l]
	s.lanes.mu.Unlock()
	if ok {
		return n, nil
	}
	return s.makeLane(ctx, l)
}

// numberIn returns a lane's number for a transaction that is not the store's, which may have the last connection of
// the pool: a lane is looked for inside, and a new one is made on a connection of its own. Made inside it would
// let everybody else who enqueues there wait for the end of the transaction.
func (s *Store) numberIn(ctx context.Context, tx execer, l lane) (int32, error) {
	s.lanes.mu.Lock()
	n, ok := s.lanes.number[l]
	s.lanes.mu.Unlock()
	if ok {
		return n, nil
	}
	err := tx.row(ctx, s.q.lane, []any{l.kind, l.queue}, &n)
	if errors.Is(err, errNoRow) {
		n, err = s.makeLaneApart(ctx, l)
	}
	if err != nil {
		return 0, err
	}
	s.lanes.set(n, l)
	return n, nil
}

func (s *Store) makeLaneApart(ctx context.Context, l lane) (n int32, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	c, err := s.dial(ctx)
	if err == nil {
		err = errors.Join(c.QueryRow(ctx, s.q.makeLane, l.kind, l.queue).Scan(&n), c.Close(ctx))
	}
	if err != nil {
		return 0, fmt.Errorf("the first task of kind %q in queue %q takes a moment's connection beside the transaction: %w", l.kind, l.queue, err)
	}
	return n, nil
}

func (s *Store) makeLane(ctx context.Context, l lane) (n int32, err error) {
	if err := s.pool.QueryRow(ctx, s.q.makeLane, l.kind, l.queue).Scan(&n); err != nil {
		return 0, err
	}
	s.lanes.set(n, l)
	return n, nil
}

// set remembers a lane. There may be others below it that are not known.
func (ls *lanes) set(n int32, l lane) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.number[l], ls.of[n] = n, l
}

// byNumber returns the lane of a number, which other processes may have made.
func (s *Store) byNumber(ctx context.Context, n int32) (lane, error) {
	s.lanes.mu.Lock()
	l, ok := s.lanes.of[n]
	s.lanes.mu.Unlock()
	if ok {
		return l, nil
	}
	if err := s.readLanes(ctx); err != nil {
		return lane{}, err
	}
	s.lanes.mu.Lock()
	defer s.lanes.mu.Unlock()
	return s.lanes.of[n], nil
}

// newest is the number up to which all are known.
func (ls *lanes) newest() int32 {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.top
}

// allLanes returns a copy of the lanes that are known. A claim's look tells of new ones.
func (s *Store) allLanes() map[lane]int32 {
	s.lanes.mu.Lock()
	defer s.lanes.mu.Unlock()
	return maps.Clone(s.lanes.number)
}

func (s *Store) readLanes(ctx context.Context) error {
	rows, err := s.pool.Query(ctx, s.q.lanes)
	if err != nil {
		return err
	}
	var (
		n, top int32
		l      lane
	)
	_, err = pgx.ForEachRow(rows, []any{&n, &l.kind, &l.queue}, func() error {
		s.lanes.set(n, l)
		top = max(top, n)
		return nil
	})
	if err == nil {
		s.lanes.readTo(top)
	}
	return err
}

// readTo records that all lanes up to a number are known.
func (ls *lanes) readTo(top int32) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.top = max(ls.top, top)
}
