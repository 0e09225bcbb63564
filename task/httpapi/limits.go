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
	// envelope is what a submit may be larger than its payload.
	envelope = 64 << 10
	maxBody  = task.MaxPayload + envelope
	// bodyStep is how much of a body is made room for before any of it has come.
	bodyStep = 4 << 10
	// maxBatchLines and maxBatchBytes bound a batch; batchStep and batchStepBytes what is read of it
	// before it is recorded, and so the memory that it needs.
	maxBatchLines  = 10_000
	maxBatchBytes  = 32 << 20
	batchStep      = 500
	batchStepBytes = 4 << 20
	// maxPage bounds a list; pageStep what is read of it at a time, since the store reads payloads
	// too.
	maxPage     = 1000
	defaultPage = 100
	pageStep    = 100
	// listPatience is how long a list looks for tasks, and bulkPatience how long a command is given to
	// tasks, before the answer says where to go on.
	listPatience = time.Second
	bulkPatience = 5 * time.Second
	// maxIDs bounds the tasks that a list names; an address of them has 4 KB, which proxies let pass.
	maxIDs = 100
	// storePatience bounds the work on a request.
	storePatience = 20 * time.Second
)

// NewServer returns a server for a handler of this package, with limits for the time that a client
// may take to send its header (10 s) and its request (30 s), to read the answer (60 s; of a stream,
// 10 s for each part) and to come with the next request (2 minutes), and for the size of the header
// (64 KiB). The connection of a request whose body was not read is closed after the answer. Nil as
// the logger means slog.Default().
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
