package httpapi

import (
	_ "embed"
	"net/http"
)

// document describes the interface to programs. A test holds it to the routes and to their answers.
//
//go:embed openapi.json
var document []byte

func (h *Handler) openAPI(a *answer, _ *http.Request) error {
	a.Header().Set("Content-Type", asJSON)
	_, _ = a.Write(document) // the client may be gone
	return nil
}
