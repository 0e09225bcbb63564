import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** A server that exits while requests are in flight. */
class Main {
    static final int DELAY = 3; // seconds after the signal, while clients are still routed here

    static volatile boolean stopping;

    static void handle(HttpExchange exchange) throws IOException {
        try (exchange) {
            answer(exchange);
        }
    }

    static void answer(HttpExchange exchange) throws IOException {
        if (exchange.getRequestURI().getPath().equals("/slow")) {
            pause(4000);
        }
        if (stopping) {
            // The next request goes to another pod.
            exchange.getResponseHeaders().set("Connection", "close");
        }
        int status = 200;
        if (stopping && exchange.getRequestURI().getPath().equals("/readyz")) {
            status = 503; // it is alive, but should get no new clients
        }
        byte[] body = "hello\n".getBytes();
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
    }

    public static void main(String[] args) throws IOException {
        String host = System.getenv().getOrDefault("HOST", "0.0.0.0");
        int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"));
        HttpServer server = HttpServer.create(new InetSocketAddress(host, port), 128);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", Main::handle);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping = true;
            pause(DELAY * 1000);
            server.stop(0);
            Runtime.getRuntime().halt(0); // otherwise the virtual machine exits with 143
        }));
        server.start();
    }

    static void pause(int millis) {
        try {
            TimeUnit.MILLISECONDS.sleep(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
