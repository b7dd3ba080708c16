package strictjson

import (
	"errors"
	"io"
	"mime"
	"net/http"

	"doorcode/pkg/problem"
)

// MaxBody is the size in bytes above which no body is read.
const MaxBody = 64 << 10

// ReadRequest decodes the body of r, which must be application/json of at most MaxBody bytes, into v by the rules of
// Decode. The error is a *problem.Problem: 415, 413 body_too_large, or 400 invalid_request with the field.
func ReadRequest(r *http.Request, v any) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return problem.New(http.StatusUnsupportedMediaType, problem.CodeUnsupportedMediaType,
			"The body must be application/json.")
	}
	if r.ContentLength > MaxBody {
		return tooLarge()
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	if err != nil {
		return problem.New(http.StatusBadRequest, problem.CodeInvalidRequest, "The body could not be read.")
	}
	return ReadBody(data, v)
}

// ReadBody is ReadRequest for a body that came by other ways than HTTP.
func ReadBody(data []byte, v any) error {
	if len(data) > MaxBody {
		return tooLarge()
	}
	err := Decode(data, v)
	if err == nil {
		return nil
	}
	var refused *Error
	if !errors.As(err, &refused) {
		return err
	}
	p := problem.New(http.StatusBadRequest, problem.CodeInvalidRequest, refused.Detail)
	p.Field = refused.Field
	return p
}

// tooLarge is the answer to a body above MaxBody.
func tooLarge() *problem.Problem {
	return problem.New(http.StatusRequestEntityTooLarge, problem.CodeBodyTooLarge,
		"The body is larger than 64 KiB.")
}
