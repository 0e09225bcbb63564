package pgstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastcall-go/lastcall/task"
)

// copyFrom is the number of tasks from which COPY is quicker than a statement.
const copyFrom = 32

// fresh is a new task with its key and lane.
type fresh struct {
	task.NewTask
	id   [16]byte
	lane int32
}

// addByCopy records many tasks with COPY, which writes whole pages at a time. It says false, and
// has done nothing, when one of them exists already: COPY cannot leave it out.
func (s *Store) addByCopy(ctx context.Context, tasks []fresh) (ok bool, err error) {
	record := &copyStream{rows: len(tasks), row: func(b *copyBuffer, i int) {
		n := &tasks[i]
		b.row(4)
		b.bytes(n.id[:])
		b.int64(int64(n.Priority))
		b.int32(n.lane)
		b.bytes(n.Payload)
	}}
	ready := &copyStream{rows: len(tasks), row: func(b *copyBuffer, i int) {
		n := &tasks[i]
		b.row(4)
		b.int64(^int64(n.Priority))
		b.bytes(n.id[:])
		b.int32(n.lane)
		if len(n.Payload) > carried {
			b.null()
		} else {
			b.bytes(n.Payload)
		}
	}}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	pg := conn.Conn().PgConn()
	if _, err := pg.Exec(ctx, `begin`).ReadAll(); err != nil {
		return false, err
	}
	_, err = pg.CopyFrom(ctx, record, s.q.copyTasks)
	if err == nil {
		_, err = pg.CopyFrom(ctx, ready, s.q.copyReady)
	}
	if err == nil {
		_, err = pg.Exec(ctx, `commit`).ReadAll()
		return err == nil, err
	}
	if pg.IsClosed() {
		return false, err
	}
	if _, rollback := pg.Exec(context.WithoutCancel(ctx), `rollback`).ReadAll(); rollback != nil {
		return false, errors.Join(err, fmt.Errorf("rollback: %w", rollback))
	}
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == "23505" { // unique_violation
		return false, nil
	}
	return false, err
}

const (
	copyTasksSQL = `copy @.tasks (id, priority, lane, payload) from stdin binary`
	copyReadySQL = `copy @.ready (rank, id, lane, payload) from stdin binary`
)

// copyStream is rows in the binary format of COPY. They are encoded as they are sent: meanwhile the
// server is at those that were sent before.
type copyStream struct {
	rows int
	row  func(b *copyBuffer, i int)

	next    int // row
	begun   bool
	ended   bool
	encoded copyBuffer
}

// Read implements io.Reader.
func (s *copyStream) Read(p []byte) (int, error) {
	for s.encoded.Len() < len(p) && !s.ended {
		if !s.begun {
			s.begun = true
			s.encoded.WriteString("PGCOPY\n\xff\r\n\x00") // the signature
			s.encoded.Write(make([]byte, 8))              // no flags, no extension
		}
		if s.next < s.rows {
			s.row(&s.encoded, s.next)
			s.next++
			continue
		}
		s.ended = true
		s.encoded.row(-1)
	}
	return s.encoded.Read(p)
}

// copyBuffer takes encoded rows.
type copyBuffer struct {
	bytes.Buffer
	scratch [8]byte
}

func (b *copyBuffer) row(columns int16) {
	binary.BigEndian.PutUint16(b.scratch[:], uint16(columns))
	b.Write(b.scratch[:2])
}

func (b *copyBuffer) length(n uint32) {
	binary.BigEndian.PutUint32(b.scratch[:], n)
	b.Write(b.scratch[:4])
}

func (b *copyBuffer) null() { b.length(math.MaxUint32) } // minus one

func (b *copyBuffer) bytes(p []byte) {
	b.length(uint32(len(p)))
	b.Write(p)
}

func (b *copyBuffer) int32(n int32) {
	b.length(4)
	b.length(uint32(n))
}

func (b *copyBuffer) int64(n int64) {
	b.length(8)
	binary.BigEndian.PutUint64(b.scratch[:], uint64(n))
	b.Write(b.scratch[:8])
}
