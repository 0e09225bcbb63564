package pgstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

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
	var record, ready copyBuffer
	record.begin()
	ready.begin()
	for _, n := range tasks {
		record.row(4)
		record.bytes(n.id[:])
		record.int64(int64(n.Priority))
		record.int32(n.lane)
		record.bytes(n.Payload)
		ready.row(3)
		ready.int64(^int64(n.Priority))
		ready.bytes(n.id[:])
		ready.int32(n.lane)
	}
	record.end()
	ready.end()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	pg := conn.Conn().PgConn()
	if _, err := pg.Exec(ctx, `begin`).ReadAll(); err != nil {
		return false, err
	}
	_, err = pg.CopyFrom(ctx, &record.Buffer, s.q.copyTasks)
	if err == nil {
		_, err = pg.CopyFrom(ctx, &ready.Buffer, s.q.copyReady)
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
	copyReadySQL = `copy @.ready (rank, id, lane) from stdin binary`
)

// copyBuffer is a stream in the binary format of COPY.
type copyBuffer struct {
	bytes.Buffer
	scratch [8]byte
}

func (b *copyBuffer) begin() {
	b.WriteString("PGCOPY\n\xff\r\n\x00") // the signature
	b.Write(make([]byte, 8))              // no flags, no extension
}

func (b *copyBuffer) end() { b.row(-1) }

func (b *copyBuffer) row(columns int16) {
	binary.BigEndian.PutUint16(b.scratch[:], uint16(columns))
	b.Write(b.scratch[:2])
}

func (b *copyBuffer) length(n uint32) {
	binary.BigEndian.PutUint32(b.scratch[:], n)
	b.Write(b.scratch[:4])
}

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
