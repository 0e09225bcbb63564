package pgstore

import (
	"context"
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
	top    int32 // the highest number
}

const (
	lanesSQL = `select n, kind, queue from @.lanes`
	// The update does nothing but make the row one that is returned.
	makeLaneSQL = `insert into @.lanes (kind, queue) values ($1, $2) on conflict (kind, queue) do update set kind = excluded.kind returning n`
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
	if err := s.pool.QueryRow(ctx, s.q.makeLane, l.kind, l.queue).Scan(&n); err != nil {
		return 0, err
	}
	s.lanes.set(n, l)
	return n, nil
}

func (ls *lanes) set(n int32, l lane) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.number[l], ls.of[n], ls.top = n, l, max(ls.top, n)
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

// newest is the highest number that is known.
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
		n int32
		l lane
	)
	_, err = pgx.ForEachRow(rows, []any{&n, &l.kind, &l.queue}, func() error {
		s.lanes.set(n, l)
		return nil
	})
	return err
}
