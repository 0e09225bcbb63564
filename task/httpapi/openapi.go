package httpapi

import (
	_ "embed"
	"net/http"
)

// document describes the API to programs. A test compares it with the routes and their answers.
//
//go:embed openapi.json
var document []byte

func (h *Handler) openAPI(a *answer, _ *http.Request) error {
	a.Header().Set("Content-Type", asJSON)
	_, _ = a.Write(document) // the client may be gone
	return nil
}
