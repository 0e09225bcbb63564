package httpapi

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/lastcall-go/lastcall/internal/safelog"
	"github.com/lastcall-go/lastcall/task"
)

// The limits of a request. Those of time bound what a client that sends or reads slowly can hold.
const (
	// envelope is how much larger than its payload a submit may be.
	envelope = 64 << 10
	maxBody  = task.MaxPayload + envelope
	// bodyStep is how much memory is allocated for a body before any of it has come.
	bodyStep = 4 << 10
	// maxBatchLines and maxBatchBytes bound a batch. batchStep and batchStepBytes bound what is read
	// of it before it is recorded, and so the memory that it needs.
	maxBatchLines  = 10_000
	maxBatchBytes  = 32 << 20
	batchStep      = 500
	batchStepBytes = 4 << 20
	// maxPage bounds a list; pageStep bounds what is read of it at a time, since the store reads
	// payloads too.
	maxPage     = 1000
	defaultPage = 100
	pageStep    = 100
	// listPatience is how long a list searches for tasks, and bulkPatience how long a command is
	// applied to tasks, before the answer says where to go on.
	listPatience = time.Second
	bulkPatience = 5 * time.Second
	// maxIDs bounds the ids that a list names: their URL has 4 KB, which proxies accept.
	maxIDs = 100
	// storePatience bounds the work on a request.
	storePatience = 20 * time.Second
)

// NewServer returns a server for a handler of this package. It limits the size of the header (64
// KiB), and the time that a client may take:
//
//   - 10 s to send its header, and 30 s to send its request
//   - 60 s to read the answer; for a stream, 10 s for each part
//   - 2 minutes to send the next request
//
// The connection of a request whose body was not read is closed after the answer. A nil logger
// means slog.Default().
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	log = safelog.New(log)
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r, served := watchBody(w, r)
			defer served()
			h.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
