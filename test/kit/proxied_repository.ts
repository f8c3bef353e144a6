/** A repository on MinIO behind a proxy that fails as a test tells it to. */
import { FaultyS3 } from "./faulty_s3.ts";
import { startMinio } from "./minio.ts";
import { TestRepository } from "./repository.ts";
import { awsEnv } from "./s3_server.ts";

export interface ProxiedRepository {
  proxy: FaultyS3;
  repository: TestRepository;
  /** Ends the proxy and the server, and removes the files. */
  stop: () => Promise<void>;
}

export async function startProxiedRepository(): Promise<ProxiedRepository> {
  const minio = await startMinio();
  const proxy = await FaultyS3.start(minio);
  const env = awsEnv({ ...minio, endpoint: proxy.endpoint });
  const repository = await TestRepository.make({ url: `s3://${minio.bucket}/repository`, env });
  const stop = async () => {
    proxy.goAway();
    await repository.remove();
    await minio.stop();
  };
  return { proxy, repository, stop };
}
