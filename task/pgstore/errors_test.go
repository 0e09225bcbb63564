package pgstore

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastcall-go/lastcall/task"
)

func TestExplain_AServerWithoutRoomIsErrStoreFull(t *testing.T) {
	full := explain(&pgconn.PgError{Code: codeDiskFull, Message: "no space left on device"})
	if !errors.Is(full, task.ErrStoreFull) || !errors.As(full, new(*pgconn.PgError)) {
		t.Error(full)
	}
	if other := explain(&pgconn.PgError{Code: "53300"}); errors.Is(other, task.ErrStoreFull) {
		t.Error(other)
	}
}
