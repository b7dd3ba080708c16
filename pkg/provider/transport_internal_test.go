package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doorcode/pkg/delivery"
)

// post makes one watched call with a small body.
func post(ctx context.Context, c *http.Client, url string) (*http.Response, *Watch, error) {
	watch := new(Watch)
	r, err := http.NewRequestWithContext(watch.Context(ctx), http.MethodPost, url, strings.NewReader("hello"))
	if err != nil {
		return nil, watch, err
	}
	res, err := c.Do(r)
	return res, watch, err
}

// drain reads and closes an answer and returns how long it was.
func drain(t *testing.T, res *http.Response) int64 {
	t.Helper()
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil {
		t.Error(err)
	}
	err = res.Body.Close()
	if err != nil {
		t.Error(err)
	}
	return n
}

func TestNewHTTPClient_SpeaksHTTP2AndCutsAnswers(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 3*maxReply))
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	c := NewHTTPClient(HTTPConfig{MaxConns: 2})
	t.Cleanup(c.CloseIdleConnections)
	transport, ok := c.Transport.(bounded)
	if !ok {
		t.Fatal("the transport is not bounded")
	}
	trusting, ok := s.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatal("the server's client has another transport")
	}
	transport.TLSClientConfig = trusting.TLSClientConfig.Clone()
	transport.TLSClientConfig.NextProtos = nil
	res, _, err := post(t.Context(), c, s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if res.ProtoMajor != 2 {
		t.Errorf("speaks %s", res.Proto)
	}
	if n := drain(t, res); n != maxReply {
		t.Errorf("read %d bytes, want %d", n, maxReply)
	}
}

// A provider that cannot prove itself gets nothing: not the message, not the key. There is no way back to plain text.
func TestSEC34_AProviderThatCannotProveItselfGetsNothing(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	serve := func(start func(*httptest.Server)) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		start(s)
		t.Cleanup(s.Close)
		return s
	}
	secure, plain := serve((*httptest.Server).StartTLS), serve((*httptest.Server).Start)
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	for name, c := range map[string]struct {
		url   string
		roots *x509.CertPool
		good  bool
	}{
		"signed by nobody":      {url: secure.URL},
		"made for another host": {url: strings.Replace(secure.URL, "127.0.0.1", "localhost", 1), roots: roots},
		"without TLS":           {url: strings.Replace(plain.URL, "http:", "https:", 1), roots: roots},
		"good, for control":     {url: secure.URL, roots: roots, good: true},
	} {
		client := NewHTTPClient(HTTPConfig{MaxConns: 2, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, strings.Replace(address, "localhost", "127.0.0.1", 1))
		}})
		t.Cleanup(client.CloseIdleConnections)
		transport, ok := client.Transport.(bounded)
		if !ok {
			t.Fatal("the transport is not bounded")
		}
		if c.roots != nil {
			transport.TLSClientConfig = &tls.Config{RootCAs: c.roots, MinVersion: tls.VersionTLS12}
		}
		before := asked.Load()
		res, watch, err := post(t.Context(), client, c.url)
		if err == nil {
			drain(t, res)
		}
		if (err == nil) != c.good || (asked.Load() > before) != c.good {
			t.Errorf("%s: %v, and it was asked %d times", name, err, asked.Load()-before)
		}
		if err == nil {
			continue
		}
		if f := watch.Lost(t.Context(), err); f.Result != delivery.Temporary {
			t.Errorf("%s: it counts as %s, though nothing left", name, f.Result)
		}
	}
}

func TestNewHTTPClient_RefusesHeadersWithoutEnd(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 2*maxReply))
	}))
	t.Cleanup(s.Close)
	c := NewHTTPClient(HTTPConfig{MaxConns: 2})
	t.Cleanup(c.CloseIdleConnections)
	res, watch, err := post(t.Context(), c, s.URL)
	if err == nil {
		drain(t, res)
		t.Fatal("headers without end are taken")
	}
	f := watch.Lost(t.Context(), err)
	if f.Result != delivery.Unknown {
		t.Errorf("got %v", f)
	}
}

func TestNewHTTPClient_UsesAProxyOnlyWhenTold(t *testing.T) {
	t.Parallel()
	direct, ok := NewHTTPClient(HTTPConfig{}).Transport.(bounded)
	if !ok || direct.Proxy != nil {
		t.Error("without a setting there is a proxy, perhaps that of the environment")
	}
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.URL.String() }))
	t.Cleanup(s.Close)
	proxy, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := NewHTTPClient(HTTPConfig{Proxy: proxy})
	t.Cleanup(c.CloseIdleConnections)
	res, _, err := post(t.Context(), c, "http://sandbox.internal/x")
	if err != nil {
		t.Fatal(err)
	}
	drain(t, res)
	if asked != "http://sandbox.internal/x" {
		t.Errorf("the proxy was asked for %q", asked)
	}
}

func TestNewHTTPClient_KeepsItsClocks(t *testing.T) {
	t.Parallel()
	transport, ok := NewHTTPClient(HTTPConfig{MaxConns: 5}).Transport.(bounded)
	if !ok {
		t.Fatal("the transport is not bounded")
	}
	if transport.MaxConnsPerHost != 5 || transport.MaxIdleConnsPerHost != 64 || transport.MaxIdleConns != 0 {
		t.Errorf("pool: %d, %d, %d", transport.MaxConnsPerHost, transport.MaxIdleConnsPerHost, transport.MaxIdleConns)
	}
	if connectTimeout != 2*time.Second || transport.TLSHandshakeTimeout != 3*time.Second {
		t.Errorf("clocks: %s, %s", connectTimeout, transport.TLSHandshakeTimeout)
	}
}

// piped returns a dialer whose other ends are served by serve.
func piped(serve func(net.Conn)) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go serve(there)
		return here, nil
	}
}

// swallow reads until the other end is closed and says nothing.
func swallow(c net.Conn) {
	_, _ = io.Copy(io.Discard, c) // Ends with the connection, in whichever way.
	_ = c.Close()
}

func TestWatch_ATLSHandshakeWithoutAnswerIsCertainlyNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := NewHTTPClient(HTTPConfig{Dial: piped(swallow)})
		start := time.Now()
		_, watch, err := post(t.Context(), c, "https://sandbox.internal/") //nolint:bodyclose // There is no answer.
		f := watch.Lost(t.Context(), err)
		if f.Result != delivery.Temporary || f.Reason != delivery.ReasonTimeout {
			t.Errorf("got %v", f)
		}
		if time.Since(start) != tlsTimeout {
			t.Errorf("took %s", time.Since(start))
		}
	})
}

func TestWatch_SilenceAfterTheRequestIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := NewHTTPClient(HTTPConfig{Dial: piped(swallow)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, watch, err := post(ctx, c, "http://sandbox.internal/") //nolint:bodyclose // There is no answer.
		f := watch.Lost(t.Context(), err)
		if f.Result != delivery.Unknown || f.Reason != delivery.ReasonTimeout {
			t.Errorf("got %v", f)
		}
	})
}

// TestWatch_ACancelAtTheLastByteIsUnknown holds the moment between the last
// byte and the report of the written request: the other end has everything.
func TestWatch_ACancelAtTheLastByteIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := NewHTTPClient(HTTPConfig{Dial: piped(func(there net.Conn) {
			seen := make([]byte, 0, 4096)
			for !strings.HasSuffix(string(seen), "hello") {
				one := make([]byte, 1)
				_, err := there.Read(one)
				if err != nil {
					break
				}
				seen = append(seen, one[0])
			}
			cancel()
			swallow(there)
		})})
		_, watch, err := post(ctx, c, "http://sandbox.internal/") //nolint:bodyclose // There is no answer.
		f := watch.Lost(ctx, err)
		if f.Result != delivery.Unknown || f.Reason != delivery.ReasonCanceled {
			t.Errorf("got %v", f)
		}
	})
}

func TestWatch_FailuresOfADialAreCertainlyNotSent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want delivery.Reason
	}{
		"refused":  {&net.OpError{Op: "dial", Err: errors.New("connection refused")}, delivery.ReasonProviderError},
		"no name":  {&net.DNSError{Err: "no such host", Name: "api.example.com", IsNotFound: true}, delivery.ReasonProviderError},
		"too slow": {&net.DNSError{Err: "timeout", Name: "api.example.com", IsTimeout: true}, delivery.ReasonTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := NewHTTPClient(HTTPConfig{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, c.err }})
			_, watch, err := post(t.Context(), client, "http://sandbox.internal/") //nolint:bodyclose // There is no answer.
			f := watch.Lost(t.Context(), err)
			if f.Result != delivery.Temporary || f.Reason != c.want || f.Status != 0 || f.Breaks {
				t.Errorf("got %v", f)
			}
			if strings.Contains(f.Error(), "http://") {
				t.Errorf("the address shows in %q", f.Error())
			}
		})
	}
}
