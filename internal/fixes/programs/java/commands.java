import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;

/** A worker that takes commands on a Unix socket, and starts again after a crash. */
class Main {
    public static void main(String[] args) throws IOException {
        Path path = Path.of(System.getenv().getOrDefault("SOCKET", "/tmp/worker.sock"));
        Files.deleteIfExists(path); // a killed process leaves its socket behind
        ServerSocketChannel commands = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        commands.bind(UnixDomainSocketAddress.of(path));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                Files.delete(path);
                Runtime.getRuntime().halt(0); // otherwise the virtual machine exits with 143
            } catch (IOException e) {
                Runtime.getRuntime().halt(1);
            }
        }));
        while (true) {
            commands.accept().close();
        }
    }
}
