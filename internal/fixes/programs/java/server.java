import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** A server that goes on accepting while clients are sent to it, answers what it has accepted, and ends with 0. */
class Main {
    static final int DELAY = 2; // seconds after the signal, while clients are still sent here
    static final int PATIENCE = 10; // seconds for requests: delay and patience fit into the grace

    static volatile boolean stopping;
    static final AtomicInteger underWay = new AtomicInteger();

    static void answer(HttpExchange exchange) throws IOException {
        underWay.incrementAndGet();
        if (exchange.getRequestURI().getPath().equals("/slow")) {
            pause(3000);
        }
        if (stopping) {
            exchange.getResponseHeaders().set("Connection", "close"); // who keeps it asks another pod next
        }
        byte[] body = "hello\n".getBytes();
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
        underWay.decrementAndGet();
    }

    public static void main(String[] args) throws IOException {
        String host = System.getenv().getOrDefault("HOST", "0.0.0.0");
        int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"));
        HttpServer server = HttpServer.create(new InetSocketAddress(host, port), 128);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", Main::answer);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping = true;
            pause(DELAY * 1000);
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE);
            while (underWay.get() > 0 && System.nanoTime() < deadline) { // stop(PATIENCE) may wait in vain
                pause(50);
            }
            server.stop(0);
            Runtime.getRuntime().halt(0); // the virtual machine would end with 143
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
