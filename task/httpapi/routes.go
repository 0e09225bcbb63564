package httpapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/lastcall-go/lastcall/task"
)

// endpoint answers a request or returns an error, which becomes a problem.
type endpoint func(a *answer, r *http.Request) error

// route is a path with a method.
type route struct {
	method, path string
	// role is the role that a token must have; if it is empty no token is needed.
	role Role
	// media is the Content-Type that a request must have.
	media string
	serve endpoint
}

const (
	asJSON    = "application/json"
	asLines   = "application/x-ndjson"
	asProblem = "application/problem+json"
)

// table has every route; the OpenAPI document has the same.
func (h *Handler) table() []route {
	return []route{
		{"POST", "/v1/tasks", RoleSubmit, asJSON, h.submit},
		{"POST", "/v1/tasks/batch", RoleSubmit, asLines, h.batch},
		{"POST", "/v1/tasks/bulk", RoleOperate, asJSON, h.bulk},
		{"GET", "/v1/tasks", RoleRead, "", h.list},
		{"GET", "/v1/tasks/{id}", RoleRead, "", h.show},
		{"GET", "/v1/tasks/{id}/log", RoleRead, "", h.taskLog},
		{"GET", "/v1/tasks/{id}/steps", RoleRead, "", h.steps},
		{"DELETE", "/v1/tasks/{id}", RoleOperate, "", h.command(task.VerbDelete, (*task.Client).Delete)},
		{"POST", "/v1/tasks/{id}/cancel", RoleOperate, asJSON, h.command(task.VerbCancel, (*task.Client).Cancel)},
		{"POST", "/v1/tasks/{id}/retry", RoleOperate, asJSON, h.retry},
		{"POST", "/v1/tasks/{id}/interrupt", RoleOperate, asJSON, h.command(task.VerbInterrupt, (*task.Client).Interrupt)},
		{"GET", "/v1/queues", RoleRead, "", h.queues},
		{"POST", "/v1/queues/{queue}/pause", RoleOperate, asJSON, h.pauseQueue},
		{"POST", "/v1/queues/{queue}/resume", RoleOperate, asJSON, h.resumeQueue},
		{"GET", "/v1/schedules", RoleRead, "", h.schedules},
		{"POST", "/v1/schedules/{set}/{schedule}/pause", RoleOperate, asJSON, h.steerSchedule(task.VerbPause, (*task.Client).PauseSchedule)},
		{"POST", "/v1/schedules/{set}/{schedule}/resume", RoleOperate, asJSON, h.steerSchedule(task.VerbResume, (*task.Client).ResumeSchedule)},
		{"POST", "/v1/schedules/{set}/{schedule}/run", RoleOperate, asJSON, h.runSchedule},
		{"GET", "/v1/workers", RoleRead, "", h.workers},
		{"GET", "/v1/counts", RoleRead, "", h.counts},
		{"GET", "/v1/events", RoleRead, "", h.events},
		{"GET", "/v1/openapi.json", "", "", h.openAPI},
	}
}

// routes returns the mux. A request that matches no route is a problem, too.
func (h *Handler) routes() *http.ServeMux {
	mux := http.NewServeMux()
	methods := make(map[string][]string) // by path
	for _, rt := range h.table() {
		mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) {
			a := w.(*answer) // ServeHTTP made it
			a.route = rt.method + " " + rt.path
			a.err = h.enter(a, r, rt)
		})
		methods[rt.path] = append(methods[rt.path], rt.method)
	}
	paths := http.NewServeMux() // knows the addresses, whatever the method
	for path := range methods {
		paths.Handle(path, http.NotFoundHandler())
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.(*answer).err = noRoute(w.Header(), r, paths, methods)
	})
	return mux
}

// noRoute reports whether the address or the method is wrong.
func noRoute(header http.Header, r *http.Request, paths *http.ServeMux, methods map[string][]string) error {
	_, path := paths.Handler(r)
	allowed := slices.Clone(methods[path])
	if len(allowed) == 0 {
		return problem("no-such-route", "nothing is at %.100q: the addresses are in /v1/openapi.json", r.URL.Path)
	}
	if slices.Contains(allowed, http.MethodGet) {
		allowed = append(allowed, http.MethodHead)
	}
	slices.Sort(allowed)
	allow := strings.Join(allowed, ", ")
	header.Set("Allow", allow)
	return problem("method-not-allowed", "%.20s is not possible here: use %s", r.Method, allow)
}

// enter checks the token and the form of a request, and then lets the route answer.
func (h *Handler) enter(a *answer, r *http.Request, rt route) error {
	if h.tokens != nil && rt.role != "" {
		name, err := h.tokens.admit(r.Header, rt.role)
		a.token = name
		if err != nil {
			a.Header().Set("WWW-Authenticate", challenge(err))
			return err
		}
	}
	if rt.media != "" {
		if err := checkMedia(r, rt.media); err != nil {
			return err
		}
	}
	return rt.serve(a, r)
}
